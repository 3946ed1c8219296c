#include "core/text/sentencepiece_tokenizer.h"

#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"
#include "core/text/sentencepiece_bpe.h"
#include "core/text/token_decoder.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Type = SentencePieceSpec::Type;

bool IsTextPiece(const SentencePieceSpec& spec, TokenId id) {
  if (static_cast<size_t>(id) >= spec.pieces.size()) return false;
  const Type type = spec.pieces[id].type;
  return type == Type::kNormal || type == Type::kUserDefined;
}

// The token's bytes once it is known where it stands; "▁" is a space in pieces of every kind that
// text is cut into.
absl::StatusOr<TokenTable> MakeTokenTable(const SentencePieceSpec& spec,
                                          const std::vector<AddedToken>& added) {
  LeadingStrip leading;
  if (spec.add_dummy_prefix || spec.remove_extra_whitespaces) {
    leading.rule = LeadingStrip::Rule::kTokensUntilText;
    leading.count = spec.remove_extra_whitespaces ? std::numeric_limits<size_t>::max() : 1;
  }
  DecoderSpec spelling;
  spelling.steps.push_back(
      {DecoderSpec::TokenStep::Kind::kReplaceString, std::string(kSpaceSymbol), " "});
  QUIRE_ASSIGN_OR_RETURN(const TokenDecoder decoder, TokenDecoder::Build(spelling));
  TokenTable table(IllFormed::kEachByte, leading);
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const SentencePieceSpec::Piece& piece = spec.pieces[i];
    const auto id = static_cast<TokenId>(i);
    if (piece.type == Type::kControl) {
      table.Set(id, piece.text, /*special=*/true);
    } else if (piece.type == Type::kUnknown) {
      table.Set(id, spec.unk_surface, /*special=*/false);
    } else if (piece.type == Type::kByte) {
      table.Set(id, std::string(1, *FallbackByte(piece.text)), /*special=*/false);
    } else {
      QUIRE_ASSIGN_OR_RETURN(std::string bytes, decoder.BytesOf(piece.text));
      if (piece.text.starts_with(kSpaceSymbol)) table.SetAtStart(id, bytes.substr(1));
      table.Set(id, std::move(bytes), /*special=*/false);
    }
  }
  for (const AddedToken& token : added) {
    // A piece that is read as text keeps its spelling of spaces.
    if (!token.special && IsTextPiece(spec, token.id)) continue;
    table.Set(token.id, token.content, token.special);
  }
  return table;
}

// The configured tokens and the control pieces. A token's id is that of the piece with its name, or
// none that a piece has.
absl::StatusOr<std::vector<AddedToken>> AddedTokensOf(const SentencePieceSpec& spec,
                                                      const TokenizerConfig& config) {
  absl::flat_hash_map<absl::string_view, TokenId> piece_ids;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    piece_ids.emplace(spec.pieces[i].text, static_cast<TokenId>(i));
  }
  std::vector<AddedToken> tokens;
  absl::flat_hash_set<std::string> names;
  absl::flat_hash_set<TokenId> ids;
  for (const AddedToken& token : config.added_tokens) {
    const auto piece = piece_ids.find(token.content);
    const bool is_piece = piece != piece_ids.end();
    const bool fits =
        is_piece ? piece->second == token.id : token.id >= static_cast<TokenId>(spec.pieces.size());
    if (!fits || !names.insert(token.content).second || !ids.insert(token.id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("added token ", Quoted(token.content), " has the id ", token.id,
                       ", which does not fit tokenizer.model or another added token"));
    }
    tokens.push_back(token);
  }
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const SentencePieceSpec::Piece& piece = spec.pieces[i];
    if (piece.type != Type::kControl || names.contains(piece.text)) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(i);
    token.content = piece.text;
    token.special = true;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// A special token is never made of text, so the model must not know its piece.
void HideSpecialPieces(const std::vector<AddedToken>& added, SentencePieceSpec& spec) {
  for (const AddedToken& token : added) {
    if (token.special && IsTextPiece(spec, token.id)) spec.pieces[token.id].type = Type::kControl;
  }
}

// The id of a token that is put around a text; nothing where it does not exist.
std::vector<TokenId> IdOf(const std::vector<AddedToken>& tokens, const std::string& name) {
  for (const AddedToken& token : tokens) {
    if (token.content == name) return {token.id};
  }
  return {};
}

std::vector<TokenId> ByteIds(const SentencePieceSpec& spec) {
  std::vector<TokenId> ids;
  if (!spec.byte_fallback) return ids;
  ids.resize(256);
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.pieces[i].type != Type::kByte) continue;
    ids[static_cast<uint8_t>(*FallbackByte(spec.pieces[i].text))] = static_cast<TokenId>(i);
  }
  return ids;
}

}  // namespace

struct SentencePieceTokenizer::Parts {
  const SentencePieceSpec& spec;
  TokenTable tokens;
  std::vector<AddedToken> added_tokens;
  SentencePieceNormalizer normalizer;
  Model model;
};

absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> SentencePieceTokenizer::FromModel(
    std::string_view file, const TokenizerConfig& config, const TokenizerLimits& limits) {
  absl::StatusOr<SentencePieceSpec> spec = ParseSentencePieceSpec(file, limits);
  absl::Status status = spec.status();
  if (status.ok()) {
    absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> tokenizer =
        Build(*std::move(spec), config, limits);
    if (tokenizer.ok()) return tokenizer;
    status = tokenizer.status();
  }
  return absl::Status(status.code(),
                      absl::StrCat("tokenizer.model: ", std::string(status.message())));
}

absl::StatusOr<std::unique_ptr<SentencePieceTokenizer>> SentencePieceTokenizer::Build(
    SentencePieceSpec spec, const TokenizerConfig& config, const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(std::vector<AddedToken> added, AddedTokensOf(spec, config));
  HideSpecialPieces(added, spec);
  QUIRE_ASSIGN_OR_RETURN(TokenTable tokens, MakeTokenTable(spec, added));
  QUIRE_ASSIGN_OR_RETURN(SentencePieceNormalizer normalizer, SentencePieceNormalizer::Build(spec));
  std::optional<Model> model;
  if (spec.algorithm == SentencePieceSpec::Algorithm::kBpe) {
    QUIRE_ASSIGN_OR_RETURN(const BpeSpec bpe, BpeSpecOf(spec, limits));
    QUIRE_ASSIGN_OR_RETURN(model, BpeModel::Build(bpe));
  } else {
    QUIRE_ASSIGN_OR_RETURN(model, UnigramModel::Build(spec));
  }
  std::unique_ptr<SentencePieceTokenizer> tokenizer(new SentencePieceTokenizer(
      {spec, std::move(tokens), added, std::move(normalizer), *std::move(model)}));
  if (config.add_bos_token.value_or(true)) {
    tokenizer->prefix_ = IdOf(added, config.bos_token.value_or(spec.bos_piece));
  }
  if (config.add_eos_token.value_or(false)) {
    tokenizer->suffix_ = IdOf(added, config.eos_token.value_or(spec.eos_piece));
  }
  return tokenizer;
}

SentencePieceTokenizer::SentencePieceTokenizer(Parts parts)
    : TableTokenizer(std::move(parts.tokens)),
      added_tokens_(std::move(parts.added_tokens)),
      normalizer_(std::move(parts.normalizer)),
      model_(std::move(parts.model)),
      byte_ids_(ByteIds(parts.spec)),
      unk_id_(parts.spec.unk_id) {}

absl::StatusOr<std::vector<TokenId>> SentencePieceTokenizer::Encode(
    std::string_view text, const EncodeOptions& options) const {
  if (text.size() >= size_t{1} << 27) {  // normalized, it must stay below 2 GiB
    return absl::InvalidArgumentError("text is 128 MiB or longer");
  }
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("text is not well-formed UTF-8");
  std::vector<TokenId> ids;
  if (options.add_special_tokens) ids = prefix_;
  BpeModel::Scratch scratch;
  const auto on_text = [&](std::string_view part) { return EncodeText(part, scratch, ids); };
  const auto on_token = [&](TokenId id) { ids.push_back(id); };
  QUIRE_RETURN_IF_ERROR(
      added_tokens_.Split(text, options.parse_special, {on_text, on_token}, options.literal));
  if (options.add_special_tokens) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return ids;
}

absl::Status SentencePieceTokenizer::EncodeText(std::string_view text, BpeModel::Scratch& scratch,
                                                std::vector<TokenId>& ids) const {
  QUIRE_ASSIGN_OR_RETURN(const std::string normalized, normalizer_.Normalize(text));
  if (const auto* bpe = std::get_if<BpeModel>(&model_)) {
    EncodeByMerges(*bpe, normalized, scratch, ids);
  } else {
    EncodeByScores(std::get<UnigramModel>(model_), normalized, ids);
  }
  return absl::OkStatus();
}

// User-defined pieces stand; merges happen between them.
void SentencePieceTokenizer::EncodeByMerges(const BpeModel& model, std::string_view text,
                                            BpeModel::Scratch& scratch,
                                            std::vector<TokenId>& ids) const {
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const ByteTrie::Match match = normalizer_.UserDefinedPrefix(text.substr(i));
    if (match.length == 0) {
      i += FirstCodePoint(text.substr(i)).length;
      continue;
    }
    if (i > done) model.Encode(text.substr(done, i - done), scratch, ids);
    ids.push_back(match.value);
    i += match.length;
    done = i;
  }
  if (done < text.size()) model.Encode(text.substr(done), scratch, ids);
}

// Unknown code points become bytes, or a run of them one token.
void SentencePieceTokenizer::EncodeByScores(const UnigramModel& model, std::string_view text,
                                            std::vector<TokenId>& ids) const {
  bool after_unk = false;
  for (const UnigramModel::Piece& piece : model.Encode(text)) {
    const bool is_unk = piece.id == unk_id_;
    if (!is_unk || (byte_ids_.empty() && !after_unk)) {
      ids.push_back(piece.id);
    } else if (!byte_ids_.empty()) {
      for (char c : text.substr(piece.begin, piece.end - piece.begin)) {
        ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
      }
    }
    after_unk = is_unk;
  }
}

}  // namespace quire
