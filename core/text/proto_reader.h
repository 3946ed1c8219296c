#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quire {

// Walks the fields of one message in Protocol Buffers' wire format, without a schema. Views that it
// returns are parts of the message. Never reads outside of it.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // Goes to the next field. False at the end, and where the message is malformed: see ok().
  bool Next();
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }

  // Each is set where the field has that wire type, and empty or 0 otherwise.
  std::string_view bytes() const { return bytes_; }
  uint64_t varint() const { return varint_; }
  float float32() const { return float32_; }

 private:
  bool ReadVarint(uint64_t& value);
  bool ReadValue(uint32_t wire_type);
  bool Take(uint64_t size, std::string_view& bytes);

  std::string_view rest_;
  bool ok_ = true;
  uint32_t field_ = 0;
  std::string_view bytes_;
  uint64_t varint_ = 0;
  float float32_ = 0;
};

}  // namespace quire
