#include "server/cli/answer_printer.h"

#include <google/protobuf/util/json_util.h>

#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace quire::cli {
namespace {

std::string Summary(const v1::GenerateResponse& last, const std::string& reasons) {
  const v1::Usage& usage = last.usage();
  const v1::Timings& timings = last.timings();
  std::string summary = absl::StrFormat(
      "[%s] prompt %d tokens (%d cached), generated %d tokens; queued %.1f ms, first token after "
      "%.1f ms, all after %.2f s",
      reasons, usage.prompt_tokens(), usage.cached_tokens(), usage.generated_tokens(),
      timings.queue_seconds() * 1e3, timings.time_to_first_token_seconds() * 1e3,
      timings.total_seconds());
  const double decode_seconds = timings.total_seconds() - timings.time_to_first_token_seconds();
  if (usage.generated_tokens() > 1 && decode_seconds > 0) {
    absl::StrAppendFormat(&summary, " = %.0f tokens/s",
                          (usage.generated_tokens() - 1) / decode_seconds);
  }
  return summary;
}

std::string ReasonName(v1::FinishReason reason) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::FinishReason_Name(reason), "FINISH_REASON_"));
}

}  // namespace

absl::Status AnswerPrinter::Print(const v1::GenerateResponse& message) {
  if (as_json_) return PrintAsJson(message);
  if (several_) {
    answers_[message.index()] += message.prompt_text() + message.text();
  } else {
    PrintText(message.prompt_text() + message.text());
  }
  if (message.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
    absl::StrAppend(&reasons_, reasons_.empty() ? "" : ", ", ReasonName(message.finish_reason()));
  }
  if (message.has_usage()) summary_ = Summary(message, reasons_);
  return absl::OkStatus();
}

absl::Status AnswerPrinter::PrintAsJson(const v1::GenerateResponse& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string line;
  const auto status = google::protobuf::util::MessageToJsonString(message, &line, options);
  if (!status.ok()) return absl::InternalError(status.ToString());
  std::cout << line << std::endl;
  return absl::OkStatus();
}

void AnswerPrinter::PrintText(const std::string& text) {
  std::cout << text << std::flush;
  if (!text.empty()) mid_line_ = text.back() != '\n';
}

void AnswerPrinter::Finish() {
  for (const auto& [index, answer] : answers_) {
    if (mid_line_) std::cout << '\n';
    PrintText(absl::StrCat("[", index, "]\n", answer));
  }
  answers_.clear();
  if (mid_line_) std::cout << std::endl;
  mid_line_ = false;
  if (!summary_.empty()) std::cerr << summary_ << '\n';
  summary_.clear();
}

}  // namespace quire::cli
