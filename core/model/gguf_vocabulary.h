#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/model/gguf_fields.h"

namespace quire {

inline constexpr char kGgufTokensKey[] = "tokenizer.ggml.tokens";

// The tokens of a GGUF file, by id. Views into the file.
struct GgufVocabulary {
  // As SentencePiece numbers them.
  enum class Type { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

  std::vector<std::string_view> tokens;
  std::vector<Type> types;  // as many
  TokenId bos = -1;         // -1: none
  TokenId eos = -1;
  bool add_bos = false;
  bool add_eos = false;
};

// The tokens and the ids of two of them alone; nothing else is read or checked.
absl::StatusOr<GgufVocabulary> ReadGgufTokens(const GgufFields& fields);

// `add_bos`: whether a text begins with that token where the file does not say.
absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const GgufFields& fields, bool add_bos);

// Whether byte-level BPE with the metadata's way of splitting begins a text with bos where the file
// does not say.
absl::StatusOr<bool> GgufByteLevelAddsBos(const GgufFields& fields);

// A tokenizer.json for byte-level BPE, which `pre` of the metadata says how to split text for.
absl::StatusOr<std::string> GgufByteLevelJson(const GgufFields& fields,
                                              const GgufVocabulary& vocabulary);

// A tokenizer.model, a SentencePiece BPE with the scores of the metadata.
absl::StatusOr<std::string> GgufSentencePieceModel(const GgufFields& fields,
                                                   const GgufVocabulary& vocabulary);

}  // namespace quire
