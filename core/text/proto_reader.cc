#include "core/text/proto_reader.h"

#include <bit>

namespace quire {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

}  // namespace

bool ProtoReader::Next() {
  bytes_ = {};
  varint_ = 0;
  float32_ = 0;
  if (rest_.empty() || !ok_) return false;
  uint64_t tag = 0;
  ok_ = ReadVarint(tag) && tag >> 3 != 0 && tag >> 3 < (1u << 29);
  field_ = static_cast<uint32_t>(tag >> 3);
  ok_ = ok_ && ReadValue(static_cast<uint32_t>(tag & 7));
  return ok_;
}

bool ProtoReader::ReadVarint(uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool ProtoReader::Take(uint64_t size, std::string_view& bytes) {
  if (size > rest_.size()) return false;
  bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

bool ProtoReader::ReadValue(uint32_t wire_type) {
  if (wire_type == kVarint) return ReadVarint(varint_);
  std::string_view raw;
  if (wire_type == kFixed64) return Take(8, raw);
  if (wire_type == kBytes) {
    uint64_t size = 0;
    return ReadVarint(size) && Take(size, bytes_);
  }
  if (wire_type != kFixed32 || !Take(4, raw)) return false;
  uint32_t bits = 0;
  for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<uint8_t>(raw[i]);
  float32_ = std::bit_cast<float>(bits);
  return true;
}

}  // namespace quire
