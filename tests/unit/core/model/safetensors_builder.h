#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quire::testing {

// A safetensors file from a header, right or wrong, and its data.
inline std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file.push_back(static_cast<char>(uint64_t{header.size()} >> (8 * i)));
  }
  return file.append(header).append(data);
}

inline std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace quire::testing
