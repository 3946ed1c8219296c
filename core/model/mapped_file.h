#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire {

// A regular file mapped read-only; unmapped on destruction. Move-only. Reading a page of a file
// that someone truncates while it is mapped raises SIGBUS: model files must not change while they
// load, as with every program that maps them.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Asks the kernel to start reading these bytes of a mapping.
void PrefetchMapped(std::span<const std::byte> bytes);

// Lets go of the memory that these bytes of a mapping take. They are read from the file again where
// somebody looks at them.
void ReleaseMapped(std::span<const std::byte> bytes);

// Bytes of mappings that somebody reads, to be let go of together: who copies a large file piece by
// piece keeps little more of it than a piece in memory.
class MappedPieces {
 public:
  void Add(std::span<const std::byte> bytes) {
    PrefetchMapped(bytes);
    pieces_.push_back(bytes);
  }
  void Release() {
    for (const std::span<const std::byte> bytes : pieces_) ReleaseMapped(bytes);
    pieces_.clear();
  }

 private:
  std::vector<std::span<const std::byte>> pieces_;
};

}  // namespace quire
