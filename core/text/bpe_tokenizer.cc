#include "core/text/bpe_tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/token_decoder.h"
#include "core/text/tokenizer_spec.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

// As the `tokenizers` library has it, the content of a normalized added token is normalized, too.
absl::StatusOr<std::vector<AddedToken>> WithNormalizedContent(std::vector<AddedToken> tokens,
                                                              const Normalizer& normalizer) {
  for (AddedToken& token : tokens) {
    if (!token.normalized) continue;
    QUIRE_ASSIGN_OR_RETURN(Normalizer::Result normalized, normalizer.Normalize(token.content));
    if (normalized.text.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("added_tokens: the normalizer leaves nothing of ", Quoted(token.content)));
    }
    token.content = std::move(normalized.text);
  }
  return tokens;
}

absl::StatusOr<TokenTable> MakeTokenTable(const TokenizerSpec& spec) {
  QUIRE_ASSIGN_OR_RETURN(const TokenDecoder decoder, TokenDecoder::Build(spec.decoder));
  TokenTable table(spec.decoder.ill_formed(), spec.decoder.leading);
  const auto set = [&](const std::string& token, TokenId id, bool special) -> absl::Status {
    QUIRE_ASSIGN_OR_RETURN(std::string bytes, decoder.BytesOf(token));
    table.Set(id, std::move(bytes), special);
    const bool other_at_start = spec.decoder.leading.rule == LeadingStrip::Rule::kFirstToken &&
                                token.find(spec.decoder.leading.content) != std::string::npos;
    if (!other_at_start) return absl::OkStatus();
    QUIRE_ASSIGN_OR_RETURN(std::string first, decoder.FirstBytesOf(token));
    table.SetAtStart(id, std::move(first));
    return absl::OkStatus();
  };
  for (const auto& [token, id] : spec.model.vocabulary) {
    QUIRE_RETURN_IF_ERROR(set(token, id, false));
  }
  // Added tokens are decoded as the others are, as the `tokenizers` library has it.
  for (const AddedToken& token : spec.added_tokens) {
    QUIRE_RETURN_IF_ERROR(set(token.content, token.id, token.special));
  }
  return table;
}

// Of tokens that normalization has made alike the special one counts, so they come first.
AddedTokenMatcher MakeMatcher(const std::vector<AddedToken>& added, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const bool special : {true, false}) {
    for (const AddedToken& token : added) {
      if (token.normalized == normalized && token.special == special) tokens.push_back(token);
    }
  }
  return AddedTokenMatcher(std::move(tokens));
}

}  // namespace

struct BpeTokenizer::Parts {
  const TokenizerSpec& spec;
  TokenTable tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModel model;
};

absl::StatusOr<std::unique_ptr<BpeTokenizer>> BpeTokenizer::FromJson(
    std::string_view json_text, const TokenizerLimits& limits) {
  absl::StatusOr<TokenizerSpec> spec = ParseTokenizerSpec(json_text, limits);
  absl::Status status = spec.status();
  if (status.ok()) {
    absl::StatusOr<std::unique_ptr<BpeTokenizer>> tokenizer = Build(*std::move(spec));
    if (tokenizer.ok()) return tokenizer;
    status = tokenizer.status();
  }
  return absl::Status(status.code(),
                      absl::StrCat("tokenizer.json: ", std::string(status.message())));
}

absl::StatusOr<std::unique_ptr<BpeTokenizer>> BpeTokenizer::Build(TokenizerSpec spec) {
  QUIRE_ASSIGN_OR_RETURN(Normalizer normalizer, Normalizer::Build(spec.normalizer));
  QUIRE_ASSIGN_OR_RETURN(spec.added_tokens,
                         WithNormalizedContent(std::move(spec.added_tokens), normalizer));
  QUIRE_ASSIGN_OR_RETURN(TokenTable tokens, MakeTokenTable(spec));
  for (const std::vector<TokenId>* ids : {&spec.prefix, &spec.suffix}) {
    for (TokenId id : *ids) {
      if (tokens.Has(id)) continue;
      return absl::InvalidArgumentError(absl::StrCat("post_processor: no token has the id ", id));
    }
  }
  for (const AddedToken& token : spec.added_tokens) {
    if (token.special) spec.model.special.insert(token.id);
  }
  QUIRE_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::Build(spec.pre_tokenizer));
  QUIRE_ASSIGN_OR_RETURN(BpeModel model, BpeModel::Build(spec.model));
  return std::unique_ptr<BpeTokenizer>(
      new BpeTokenizer({spec, std::move(tokens), std::move(normalizer), std::move(pre_tokenizer),
                        std::move(model)}));
}

BpeTokenizer::BpeTokenizer(Parts parts)
    : TableTokenizer(std::move(parts.tokens)),
      prefix_(parts.spec.prefix),
      suffix_(parts.spec.suffix),
      verbatim_tokens_(MakeMatcher(parts.spec.added_tokens, /*normalized=*/false)),
      normalizer_(std::move(parts.normalizer)),
      normalized_tokens_(MakeMatcher(parts.spec.added_tokens, /*normalized=*/true)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      model_(std::move(parts.model)) {}

// One call of Encode.
class BpeTokenizer::TextEncoder {
 public:
  TextEncoder(const BpeTokenizer& tokenizer, const EncodeOptions& options,
              std::vector<TokenId>& ids)
      : tokenizer_(tokenizer), options_(options), ids_(ids) {}

  absl::Status Encode(std::string_view text) {
    const auto on_text = [&](std::string_view part) {
      const auto begin = static_cast<size_t>(part.data() - text.data());
      if (!tokenizer_.normalized_tokens_.empty()) {
        literal_ = RangesWithin(options_.literal, begin, begin + part.size());
      }
      return EncodePart(part, begin == 0);
    };
    return tokenizer_.verbatim_tokens_.Split(text, options_.parse_special, {on_text, on_token_},
                                             options_.literal);
  }

 private:
  // A part between added tokens that are looked for in the text as it stands.
  absl::Status EncodePart(std::string_view part, bool begins_text) {
    if (tokenizer_.normalizer_.empty()) {
      return EncodeNormalized(part, begins_text ? FirstCodePoint(part).length : 0);
    }
    // Once it is normalized, nobody can tell which bytes were literal.
    if (!literal_.empty() && tokenizer_.normalized_tokens_.has_special()) {
      return absl::FailedPreconditionError(
          "this tokenizer normalizes the names of its special tokens, so text cannot be kept apart "
          "from them; give the prompt as text or ids");
    }
    literal_.clear();
    QUIRE_ASSIGN_OR_RETURN(const Normalizer::Result normalized,
                           tokenizer_.normalizer_.Normalize(part));
    return EncodeNormalized(normalized.text, begins_text ? normalized.front : 0);
  }

  // `front` as PreTokenizer::Split has it.
  absl::Status EncodeNormalized(std::string_view text, size_t front) {
    const auto on_text = [&](std::string_view part) {
      const auto begin = static_cast<size_t>(part.data() - text.data());
      return tokenizer_.pre_tokenizer_.Split(part, front - std::min(front, begin), on_piece_);
    };
    return tokenizer_.normalized_tokens_.Split(text, options_.parse_special, {on_text, on_token_},
                                               literal_);
  }

  struct OnToken {
    std::vector<TokenId>& ids;
    void operator()(TokenId id) const { ids.push_back(id); }
  };
  struct OnPiece {
    const BpeModel& model;
    BpeModel::Scratch& scratch;
    std::vector<TokenId>& ids;
    absl::Status operator()(std::string_view piece) const {
      model.Encode(piece, scratch, ids);
      return absl::OkStatus();
    }
  };

  const BpeTokenizer& tokenizer_;
  const EncodeOptions& options_;
  std::vector<ByteRange> literal_;  // in the part at hand, from its beginning
  std::vector<TokenId>& ids_;
  BpeModel::Scratch scratch_;
  OnToken on_token_{ids_};
  OnPiece on_piece_{tokenizer_.model_, scratch_, ids_};
};

absl::StatusOr<std::vector<TokenId>> BpeTokenizer::Encode(std::string_view text,
                                                          const EncodeOptions& options) const {
  if (text.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError("text is 2 GiB or longer");
  }
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("text is not well-formed UTF-8");
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = prefix_;
  QUIRE_RETURN_IF_ERROR(TextEncoder(*this, options, ids).Encode(text));
  if (options.add_special_tokens) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

}  // namespace quire
