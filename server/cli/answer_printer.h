#pragma once

#include <string>

#include "absl/status/status.h"
#include "quire/v1/inference.pb.h"

namespace quire::cli {

// Prints an answer's messages as they come: the text on standard output and, at the end, usage and
// timings on standard error; or each message as one line of JSON on standard output.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(bool as_json) : as_json_(as_json) {}

  // Internal where the message has no JSON form.
  absl::Status Print(const v1::GenerateResponse& message);
  // After the last message, or where the stream broke off.
  void Finish();

 private:
  const bool as_json_;
  bool mid_line_ = false;
  std::string summary_;
};

}  // namespace quire::cli
