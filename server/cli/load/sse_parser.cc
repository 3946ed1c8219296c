#include "server/cli/load/sse_parser.h"

namespace quire::cli {
namespace {

constexpr size_t kLargestEvent = size_t{1} << 20;
constexpr std::string_view kData = "data:";

}  // namespace

absl::Status SseParser::Feed(std::string_view bytes,
                             const std::function<void(std::string_view)>& on_data) {
  for (char c : bytes) {
    const bool is_rest_of_line_end = c == '\n' && after_cr_;
    after_cr_ = c == '\r';
    if (is_rest_of_line_end) continue;
    if (c == '\n' || c == '\r') {
      EndLine(on_data);
      continue;
    }
    line_ += c;
    if (line_.size() + data_.size() > kLargestEvent) {
      return absl::ResourceExhaustedError("an event of the answer is larger than 1 MiB");
    }
  }
  return absl::OkStatus();
}

void SseParser::EndLine(const std::function<void(std::string_view)>& on_data) {
  if (line_.empty()) {
    if (has_data_) on_data(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  std::string_view line = line_;
  if (line.substr(0, kData.size()) == kData) {
    line.remove_prefix(kData.size());
    if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
  line_.clear();
}

}  // namespace quire::cli
