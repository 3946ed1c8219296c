#include "core/text/bpe_tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/byte_alphabet.h"
#include "core/text/tokenizer_spec.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

absl::Status InFile(const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat("tokenizer.json: ", std::string(status.message())));
}

TokenId LargestId(const TokenizerSpec& spec) {
  TokenId largest = -1;
  for (const auto& [token, id] : spec.vocabulary) largest = std::max(largest, id);
  for (const AddedToken& token : spec.added_tokens) largest = std::max(largest, token.id);
  return largest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BpeTokenizer>> BpeTokenizer::FromJson(
    std::string_view json_text, const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const TokenizerSpec spec, ParseTokenizerSpec(json_text, limits));
  absl::StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Build(spec.pre_tokenizer);
  if (!pre_tokenizer.ok()) return InFile(pre_tokenizer.status());
  absl::StatusOr<BpeModel> model =
      BpeModel::Build(spec.vocabulary, spec.merges, spec.ignore_merges);
  if (!model.ok()) return InFile(model.status());
  std::unique_ptr<BpeTokenizer> tokenizer(
      new BpeTokenizer(spec, *std::move(pre_tokenizer), *std::move(model)));
  for (const std::vector<TokenId>* ids : {&spec.prefix, &spec.suffix}) {
    for (TokenId id : *ids) {
      if (tokenizer->Find(id) != nullptr) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.json: post_processor: no token has the id ", id));
    }
  }
  return tokenizer;
}

BpeTokenizer::BpeTokenizer(const TokenizerSpec& spec, PreTokenizer pre_tokenizer, BpeModel model)
    : tokens_(static_cast<size_t>(LargestId(spec)) + 1),
      prefix_(spec.prefix),
      suffix_(spec.suffix),
      added_tokens_(spec.added_tokens),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)) {
  // Added tokens decode through the byte alphabet too, as the `tokenizers` library has it.
  const auto set = [this](const std::string& token, TokenId id, bool special) {
    tokens_[id] = {BytesSpelledBy(token).value_or(token), true, special};
  };
  for (const auto& [token, id] : spec.vocabulary) set(token, id, false);
  for (const AddedToken& token : spec.added_tokens) set(token.content, token.id, token.special);
}

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::Encode(std::string_view text,
                                                          const EncodeOptions& options) const {
  if (text.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError("text is 2 GiB or longer");
  }
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("text is not well-formed UTF-8");
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = prefix_;
  BpeModel::Scratch scratch;
  const auto encode_piece = [&](std::string_view piece) {
    model_.Encode(piece, scratch, ids);
    return absl::OkStatus();
  };
  const auto on_text = [&](std::string_view part) {
    return pre_tokenizer_.Split(part, encode_piece);
  };
  const auto on_token = [&](TokenId id) { ids.push_back(id); };
  QUIRE_RETURN_IF_ERROR(added_tokens_.Split(text, options.parse_special, {on_text, on_token}));
  if (options.add_special_tokens) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

const BpeTokenizer::Token* BpeTokenizer::Find(TokenId id) const {
  const bool exists = id >= 0 && id < vocab_size() && tokens_[id].exists;
  return exists ? &tokens_[id] : nullptr;
}

std::string_view BpeTokenizer::TokenBytes(TokenId id) const {
  const Token* token = Find(id);
  return token == nullptr || token->special ? std::string_view() : token->bytes;
}

bool BpeTokenizer::IsSpecial(TokenId id) const {
  const Token* token = Find(id);
  return token != nullptr && token->special;
}

std::string BpeTokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (TokenId id : ids) {
    const Token* token = Find(id);
    if (token == nullptr || (skip_special_tokens && token->special)) continue;
    bytes += token->bytes;
  }
  return ReplaceInvalidUtf8(bytes);
}

}  // namespace quire
