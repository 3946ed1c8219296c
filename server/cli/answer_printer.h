#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "quire/v1/inference.pb.h"

namespace quire::cli {

// Prints an answer's messages as they come: the text on standard output, an echo before it, and,
// at the end, usage and timings on standard error; or each message as one line of JSON on standard
// output. Of several answers each is printed as a whole, under its number, when all have ended.
class AnswerPrinter {
 public:
  AnswerPrinter(bool as_json, bool several) : as_json_(as_json), several_(several) {}

  // Internal where the message has no JSON form.
  absl::Status Print(const v1::GenerateResponse& message);
  // After the last message, or where the stream broke off.
  void Finish();

 private:
  absl::Status PrintAsJson(const v1::GenerateResponse& message);
  void PrintText(const std::string& text);

  const bool as_json_;
  const bool several_;
  std::map<uint32_t, std::string> answers_;  // of several, by index
  std::string reasons_;                      // why each of the answers ended
  bool mid_line_ = false;
  std::string summary_;
};

}  // namespace quire::cli
