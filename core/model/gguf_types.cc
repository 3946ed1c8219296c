#include "core/model/gguf_types.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/api/float_convert.h"

namespace quire {
namespace {

using kernels::DType;

float ReadHalf(const std::byte* data) {
  uint16_t bits = 0;
  std::memcpy(&bits, data, sizeof(bits));
  return kernels::F16ToFloat(bits);
}

int SignedByte(std::byte b) { return static_cast<int8_t>(b); }

// Calls use(i, code) for 32 four-bit codes: low halves of 16 bytes, then their high halves.
template <typename Use>
void ForNibbles(const std::byte* bytes, const Use& use) {
  for (int i = 0; i < 16; ++i) {
    use(i, std::to_integer<int>(bytes[i] & std::byte{0xf}));
    use(i + 16, std::to_integer<int>(bytes[i] >> 4));
  }
}

// A scale, then 32 signed bytes.
void DecodeQ8_0(const std::byte* block, float* out) {
  const float scale = ReadHalf(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(SignedByte(block[2 + i]));
}

// A scale, then 32 codes around 8.
void DecodeQ4_0(const std::byte* block, float* out) {
  const float scale = ReadHalf(block);
  ForNibbles(block + 2, [&](int i, int code) { out[i] = scale * static_cast<float>(code - 8); });
}

// A scale and a minimum, then 32 codes.
void DecodeQ4_1(const std::byte* block, float* out) {
  const float scale = ReadHalf(block);
  const float minimum = ReadHalf(block + 2);
  ForNibbles(block + 4,
             [&](int i, int code) { out[i] = scale * static_cast<float>(code) + minimum; });
}

// 256 codes around 32: their low four bits, their high two bits, a signed scale for each 16 of them
// and a scale of the scales. Each half of the block has its bits apart.
void DecodeQ6_K(const std::byte* block, float* out) {
  const std::byte* low = block;
  const std::byte* high = block + 128;
  const std::byte* scales = block + 192;
  const float scale = ReadHalf(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int quarter = i % 128 / 32;
    const int lane = i % 32;
    const std::byte low_pair = low[half * 64 + quarter % 2 * 32 + lane];
    const int low_bits = std::to_integer<int>(low_pair >> (quarter < 2 ? 0 : 4)) & 0xf;
    const int high_bits = std::to_integer<int>(high[half * 32 + lane] >> (2 * quarter)) & 3;
    const float step = scale * static_cast<float>(SignedByte(scales[i / 16]));
    out[i] = step * static_cast<float>((low_bits | high_bits << 4) - 32);
  }
}

// Q6_K and Q4_1 are here because files that call themselves Q4_0 have some tensors in them.
constexpr GgufTensorType kTypes[] = {
    {0, "F32", 1, 4, DType::kF32, nullptr},           {1, "F16", 1, 2, DType::kF16, nullptr},
    {30, "BF16", 1, 2, DType::kBF16, nullptr},        {8, "Q8_0", 32, 34, std::nullopt, DecodeQ8_0},
    {2, "Q4_0", 32, 18, std::nullopt, DecodeQ4_0},    {3, "Q4_1", 32, 20, std::nullopt, DecodeQ4_1},
    {14, "Q6_K", 256, 210, std::nullopt, DecodeQ6_K},
};

struct TypeName {
  uint32_t id;
  const char* name;
};
constexpr TypeName kOtherTypes[] = {
    {6, "Q5_0"},     {7, "Q5_1"},   {9, "Q8_1"},    {10, "Q2_K"},    {11, "Q3_K"},
    {12, "Q4_K"},    {13, "Q5_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},   {22, "IQ2_S"},
    {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},     {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"},
};

}  // namespace

const GgufTensorType* FindGgufTensorType(uint32_t id) {
  for (const GgufTensorType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

std::string GgufTensorTypeName(uint32_t id) {
  if (const GgufTensorType* type = FindGgufTensorType(id)) return type->name;
  for (const TypeName& type : kOtherTypes) {
    if (type.id == id) return type.name;
  }
  return absl::StrCat("number ", id);
}

std::string LoadableGgufTensorTypes() {
  std::string names;
  for (const GgufTensorType& type : kTypes) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", type.name);
  }
  return names;
}

}  // namespace quire
