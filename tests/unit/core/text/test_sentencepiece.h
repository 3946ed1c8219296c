#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/sentencepiece_spec.h"

namespace quire::testing {

// Fields in Protocol Buffers' wire format, written from its definition.
std::string VarintField(int field, uint64_t value);
std::string BytesField(int field, std::string_view bytes);
std::string FloatField(int field, float value);

// What a tokenizer.model has besides its pieces, as raw fields of its messages.
struct ModelFields {
  std::string trainer = VarintField(3, 2);  // BPE
  std::string normalizer;
};

using Piece = SentencePieceSpec::Piece;
using PieceType = SentencePieceSpec::Type;

std::string ModelBytes(const std::vector<Piece>& pieces, const ModelFields& fields = {});

// <unk>, <s> and </s>.
std::vector<Piece> ReservedPieces();

}  // namespace quire::testing
