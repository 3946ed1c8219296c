#include <cstdint>
#include <span>

#include "core/base/check.h"
#include "core/model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto tensors = quire::ParseSafetensors(file, "fuzz", {});
  if (!tensors.ok()) return 0;
  for (const quire::SafetensorsEntry& tensor : *tensors) {
    const std::byte* begin = tensor.data.data();
    QUIRE_CHECK(begin >= file.data() && begin + tensor.data.size() <= file.data() + size)
        << tensor.name << " lies outside the file";
  }
  return 0;
}
