#include "tests/unit/core/text/test_sentencepiece.h"

#include <bit>

namespace quire::testing {
namespace {

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(0x80 | (value & 0x7F));
  return bytes + static_cast<char>(value);
}

}  // namespace

std::string VarintField(int field, uint64_t value) {
  return Varint(static_cast<uint64_t>(field) << 3) + Varint(value);
}

std::string BytesField(int field, std::string_view bytes) {
  return Varint(static_cast<uint64_t>(field) << 3 | 2) + Varint(bytes.size()) + std::string(bytes);
}

std::string FloatField(int field, float value) {
  std::string bytes = Varint(static_cast<uint64_t>(field) << 3 | 5);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
  return bytes;
}

std::string ModelBytes(const std::vector<Piece>& pieces, const ModelFields& fields) {
  std::string model;
  for (const Piece& piece : pieces) {
    model += BytesField(1, BytesField(1, piece.text) + FloatField(2, piece.score) +
                               VarintField(3, static_cast<uint64_t>(piece.type)));
  }
  return model + BytesField(2, fields.trainer) + BytesField(3, fields.normalizer);
}

std::vector<Piece> ReservedPieces() {
  return {{"<unk>", 0, PieceType::kUnknown},
          {"<s>", 0, PieceType::kControl},
          {"</s>", 0, PieceType::kControl}};
}

}  // namespace quire::testing
