#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace quire::cli {

// Takes the data of server-sent events (WHATWG HTML, section 9.2) out of a body that comes in
// pieces. Other fields than data are skipped. Not thread-safe.
class SseParser {
 public:
  // Calls `on_data` for each event that these bytes complete. An error is final: an event above
  // 1 MiB.
  absl::Status Feed(std::string_view bytes, const std::function<void(std::string_view)>& on_data);

 private:
  void EndLine(const std::function<void(std::string_view)>& on_data);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a line feed that follows belongs to it
};

}  // namespace quire::cli
