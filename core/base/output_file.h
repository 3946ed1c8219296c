#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire {

// A file that is written from its beginning to its end. Closed on destruction, whole or not.
// Move-only. Errors name the path: AlreadyExists; ResourceExhausted where there is no room;
// Unavailable for everything else.
class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::string& path);  // which must not exist
  OutputFile(OutputFile&& other) noexcept { *this = std::move(other); }
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  absl::Status Write(std::span<const std::byte> bytes);
  absl::Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  // Call it once all is written: some file systems tell only now that there was no room.
  absl::Status Close();

 private:
  OutputFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_ = -1;
  std::string path_;
};

}  // namespace quire
