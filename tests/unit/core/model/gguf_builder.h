#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/gguf_file.h"

namespace quire::testing {

// A GGUF file put together piece by piece, right or wrong. Numbers of keys and tensors, offsets and
// padding follow from the pieces unless a test overrides them.
class GgufBuilder {
 public:
  GgufBuilder& Uint32(std::string_view key, uint32_t value) {
    return Raw(key, GgufValueType::kUint32, Number(value));
  }
  GgufBuilder& Float32(std::string_view key, float value) {
    return Raw(key, GgufValueType::kFloat32, Number(value));
  }
  GgufBuilder& Bool(std::string_view key, bool value) {
    return Raw(key, GgufValueType::kBool, Number(static_cast<uint8_t>(value)));
  }
  GgufBuilder& String(std::string_view key, std::string_view value) {
    return Raw(key, GgufValueType::kString, Text(value));
  }
  GgufBuilder& Uint32s(std::string_view key, const std::vector<uint32_t>& values) {
    std::string data;
    for (const uint32_t value : values) data += Number(value);
    return Array(key, GgufValueType::kUint32, values.size(), data);
  }
  GgufBuilder& Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string data;
    for (const std::string& value : values) data += Text(value);
    return Array(key, GgufValueType::kString, values.size(), data);
  }
  GgufBuilder& Floats(std::string_view key, const std::vector<float>& values) {
    std::string data;
    for (const float value : values) data += Number(value);
    return Array(key, GgufValueType::kFloat32, values.size(), data);
  }
  GgufBuilder& Array(std::string_view key, GgufValueType type, uint64_t count,
                     std::string_view elements) {
    return Raw(key, GgufValueType::kArray,
               Number(static_cast<uint32_t>(type)) + Number(count) + std::string(elements));
  }
  GgufBuilder& Raw(std::string_view key, GgufValueType type, std::string_view value) {
    pairs_.push_back(
        {std::string(key), Text(key) + Number(static_cast<uint32_t>(type)) + std::string(value)});
    return *this;
  }
  GgufBuilder& Remove(std::string_view key) {
    std::erase_if(pairs_, [&](const Pair& pair) { return pair.key == key; });
    return *this;
  }

  // `shape` as elsewhere: rows, columns.
  GgufBuilder& Tensor(std::string_view name, uint32_t type, const std::vector<uint64_t>& shape,
                      std::string_view data) {
    std::string head = Text(name) + Number(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) head += Number(shape[i]);
    head += Number(type) + Number(uint64_t{data_.size()} + offset_shift);
    tensors_.push_back(head);
    data_ += std::string(data);
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  // All elements 1.
  GgufBuilder& OnesF32(std::string_view name, const std::vector<uint64_t>& shape) {
    uint64_t count = 1;
    for (const uint64_t size : shape) count *= size;
    std::string data;
    for (uint64_t i = 0; i < count; ++i) data += Number(1.0f);
    return Tensor(name, 0, shape, data);
  }

  std::string Bytes() const {
    std::string file = magic + Number(version);
    file += Number(num_tensors.value_or(tensors_.size()));
    file += Number(num_keys.value_or(pairs_.size()));
    for (const Pair& pair : pairs_) file += pair.bytes;
    for (const std::string& tensor : tensors_) file += tensor;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

  template <typename T>
  static std::string Number(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string Text(std::string_view text) {
    return Number(uint64_t{text.size()}) + std::string(text);
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> num_tensors;
  std::optional<uint64_t> num_keys;
  uint64_t alignment = 32;
  uint64_t offset_shift = 0;  // added to the offsets of tensors from now on

 private:
  struct Pair {
    std::string key;
    std::string bytes;
  };
  std::vector<Pair> pairs_;
  std::vector<std::string> tensors_;
  std::string data_;
};

// A model of the llama architecture: vocabulary 4, hidden 32, one layer of two heads of 16 in one
// group, feed-forward size 32, a context of 64.
inline GgufBuilder TinyGgufMetadata(const std::string& architecture = "llama") {
  GgufBuilder builder;
  builder.String("general.architecture", architecture)
      .Uint32(architecture + ".block_count", 1)
      .Uint32(architecture + ".embedding_length", 32)
      .Uint32(architecture + ".context_length", 64)
      .Uint32(architecture + ".feed_forward_length", 32)
      .Uint32(architecture + ".attention.head_count", 2)
      .Uint32(architecture + ".attention.head_count_kv", 1)
      .Float32(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
  return builder;
}

inline GgufBuilder& AddTinyGgufTensors(GgufBuilder& builder) {
  return builder.OnesF32("token_embd.weight", {4, 32})
      .OnesF32("output_norm.weight", {32})
      .OnesF32("blk.0.attn_norm.weight", {32})
      .OnesF32("blk.0.attn_q.weight", {32, 32})
      .OnesF32("blk.0.attn_k.weight", {16, 32})
      .OnesF32("blk.0.attn_v.weight", {16, 32})
      .OnesF32("blk.0.attn_output.weight", {32, 32})
      .OnesF32("blk.0.ffn_norm.weight", {32})
      .OnesF32("blk.0.ffn_gate.weight", {32, 32})
      .OnesF32("blk.0.ffn_up.weight", {32, 32})
      .OnesF32("blk.0.ffn_down.weight", {32, 32});
}

}  // namespace quire::testing
