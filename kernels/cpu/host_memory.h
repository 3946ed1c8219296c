#pragma once

#include <cstddef>
#include <utility>

namespace quire::kernels {

// Memory aligned to 256 bytes, of huge pages where it is large and the system allows; null when
// there is none. Give `bytes` back to FreeHostMemory unchanged.
std::byte* AllocateHostMemory(size_t bytes);
void FreeHostMemory(std::byte* data, size_t bytes);

// Owns such memory. Move-only.
class HostMemory {
 public:
  HostMemory() = default;
  HostMemory(HostMemory&& other) noexcept { *this = std::move(other); }
  HostMemory& operator=(HostMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HostMemory() { FreeHostMemory(data_, bytes_); }

  // At least `bytes`; contents are lost when it grows. False when there is no memory: unchanged.
  [[nodiscard]] bool Reserve(size_t bytes);
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace quire::kernels
