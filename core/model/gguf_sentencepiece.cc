#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/gguf_vocabulary.h"

namespace quire {
namespace {

using Type = GgufVocabulary::Type;

constexpr char kScoresKey[] = "tokenizer.ggml.scores";

// Protocol Buffers wire format, as far as a tokenizer.model needs it.
void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}
void AppendNumber(uint32_t field, uint64_t value, std::string* out) {
  AppendVarint(field << 3, out);
  AppendVarint(value, out);
}
void AppendBytes(uint32_t field, std::string_view bytes, std::string* out) {
  AppendVarint(field << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}
void AppendFloat(uint32_t field, float value, std::string* out) {
  AppendVarint(field << 3 | 5, out);
  char bytes[sizeof(value)];
  std::memcpy(bytes, &value, sizeof(value));
  out->append(bytes, sizeof(bytes));
}

std::string Trainer(const GgufVocabulary& vocabulary) {
  std::string out;
  AppendNumber(3, 2, &out);  // model_type: BPE
  const bool bytes = std::find(vocabulary.types.begin(), vocabulary.types.end(), Type::kByte) !=
                     vocabulary.types.end();
  AppendNumber(35, bytes ? 1 : 0, &out);  // byte_fallback
  const auto piece = [&](uint32_t field, TokenId id) {
    if (id >= 0) AppendBytes(field, vocabulary.tokens[static_cast<size_t>(id)], &out);
  };
  piece(46, vocabulary.bos);
  piece(47, vocabulary.eos);
  return out;
}

}  // namespace

absl::StatusOr<std::string> GgufSentencePieceModel(const GgufFields& fields,
                                                   const GgufVocabulary& vocabulary) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<double> scores, fields.Numbers(kScoresKey));
  if (scores.size() != vocabulary.tokens.size()) {
    return fields.Error(kScoresKey,
                        absl::StrCat("a score for each of ", vocabulary.tokens.size(), " tokens"));
  }
  QUIRE_ASSIGN_OR_RETURN(const bool prefix, fields.BoolOr("tokenizer.ggml.add_space_prefix", true));
  QUIRE_ASSIGN_OR_RETURN(const bool trims,
                         fields.BoolOr("tokenizer.ggml.remove_extra_whitespaces", false));
  std::string out;
  for (size_t id = 0; id < scores.size(); ++id) {
    std::string piece;
    AppendBytes(1, vocabulary.tokens[id], &piece);
    AppendFloat(2, static_cast<float>(scores[id]), &piece);
    AppendNumber(3, static_cast<uint64_t>(vocabulary.types[id]), &piece);
    AppendBytes(1, piece, &out);
  }
  AppendBytes(2, Trainer(vocabulary), &out);
  std::string normalizer;
  AppendNumber(3, prefix ? 1 : 0, &normalizer);  // add_dummy_prefix
  AppendNumber(4, trims ? 1 : 0, &normalizer);   // remove_extra_whitespaces
  AppendBytes(3, normalizer, &out);
  return out;
}

}  // namespace quire
