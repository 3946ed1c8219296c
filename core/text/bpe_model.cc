#include "core/text/bpe_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/text/byte_alphabet.h"
#include "core/text/quoted.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

constexpr TokenId kNoToken = CodePointMap::kNone;

bool OccursInUtf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte <= 0xF4; }

absl::string_view Key(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

absl::StatusOr<BpeModel> BpeModel::Build(const BpeSpec& spec) {
  BpeModel model;
  model.byte_level_ = spec.byte_level;
  model.ignore_merges_ = spec.ignore_merges;
  model.fuse_unk_ = spec.fuse_unk;
  model.byte_ids_.fill(kNoToken);
  model.words_.reserve(spec.vocabulary.size());
  QUIRE_RETURN_IF_ERROR(spec.byte_level ? model.AddByteLevelTokens(spec.vocabulary)
                                        : model.AddTokens(spec));
  for (const auto& [bytes, word] : model.words_) {
    model.longest_word_ = std::max(model.longest_word_, bytes.size());
  }
  QUIRE_RETURN_IF_ERROR(model.AddMerges(spec));
  if (!spec.byte_level) model.AddJoins(spec);
  absl::erase_if(model.words_,
                 [&](const auto& entry) { return spec.special.contains(entry.second.id); });
  model.FindDirectWords();
  return model;
}

absl::Status BpeModel::AddByteLevelTokens(const Vocabulary& vocabulary) {
  for (const auto& [token, id] : vocabulary) {
    if (std::optional<std::string> bytes = BytesSpelledBy(token)) {
      words_.emplace(*std::move(bytes), Word{id, false});
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const Word* word = FindWord(std::string(1, static_cast<char>(byte)));
    if (word != nullptr) byte_ids_[byte] = word->id;
    if (word == nullptr && OccursInUtf8(byte)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "model.vocab has no token for byte 0x%02X, which pre_tokenizer ByteLevel needs", byte));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeModel::AddTokens(const BpeSpec& spec) {
  for (const auto& [token, id] : spec.vocabulary) {
    words_.emplace(token, Word{id, false});
    if (token.empty()) continue;
    const CodePoint first = FirstCodePoint(token);
    if (first.length == token.size()) code_point_ids_.Set(first.value, id);
  }
  for (int byte = 0; spec.byte_fallback && byte < 256; ++byte) {
    const Word* word = FindWord(absl::StrFormat("<0x%02X>", byte));
    if (word != nullptr) byte_ids_[byte] = word->id;
  }
  if (!spec.unk_token.has_value()) return absl::OkStatus();
  const Word* unk = FindWord(*spec.unk_token);
  if (unk == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("model.unk_token ", Quoted(*spec.unk_token), " is not in model.vocab"));
  }
  unk_id_ = unk->id;
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerges(const BpeSpec& spec) {
  absl::flat_hash_map<absl::string_view, TokenId> ids;
  ids.reserve(spec.vocabulary.size());
  for (const auto& [token, id] : spec.vocabulary) ids.emplace(token, id);
  const auto find = [&](const std::string& token) -> absl::StatusOr<TokenId> {
    const auto entry = ids.find(token);
    if (entry != ids.end()) return entry->second;
    return absl::InvalidArgumentError(
        absl::StrCat("model.merges needs the token ", Quoted(token), ", not in model.vocab"));
  };
  merges_.Reserve(spec.merges.size());
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const auto& [left, right] = spec.merges[i];
    QUIRE_ASSIGN_OR_RETURN(const TokenId left_id, find(left));
    QUIRE_ASSIGN_OR_RETURN(const TokenId right_id, find(right));
    QUIRE_ASSIGN_OR_RETURN(const TokenId merged_id, find(left + right));
    if (spec.special.contains(merged_id)) continue;
    const auto rank = static_cast<uint32_t>(i);
    merges_.Add(left_id, right_id, spec.merge_ranks.empty() ? rank : spec.merge_ranks[i],
                merged_id);
  }
  return absl::OkStatus();
}

// The code points at a token's ends are those it spells, except in tokens made of a byte's token or
// the unknown one, which stand for other text.
void BpeModel::AddJoins(const BpeSpec& spec) {
  absl::flat_hash_set<TokenId> stand_ins(byte_ids_.begin(), byte_ids_.end());
  stand_ins.insert(unk_id_);
  const auto stands_for_other_text = [&](const std::string& token) {
    return stand_ins.contains(FindWord(token)->id);
  };
  for (const auto& [left, right] : spec.merges) {
    const bool spells_itself = !left.empty() && !right.empty() && !stands_for_other_text(left) &&
                               !stands_for_other_text(right) &&
                               !stands_for_other_text(left + right);
    if (!spells_itself) return joins_.AddAll();
    joins_.Add(FirstCodePoint(LastCodePoint(left)).value, FirstCodePoint(right).value);
  }
}

bool BpeModel::IsEncodable(std::string_view bytes) const {
  return !byte_level_ || std::all_of(bytes.begin(), bytes.end(), [&](char c) {
    return byte_ids_[static_cast<uint8_t>(c)] != kNoToken;
  });
}

// Most pieces of real text are a token, and merging nearly always arrives there; knowing for which
// tokens it does saves the merging without changing an id.
void BpeModel::FindDirectWords() {
  Scratch scratch;
  for (auto& [bytes, word] : words_) {
    if (bytes.empty() || !IsEncodable(bytes)) continue;
    MergeChunk(bytes, scratch);
    word.is_its_own_encoding = scratch.symbols.size() == 1 && scratch.symbols[0] == word.id;
  }
}

const BpeModel::Word* BpeModel::FindWord(std::string_view text) const {
  const auto word = words_.find(Key(text));
  return word == words_.end() ? nullptr : &word->second;
}

void BpeModel::Encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (ignore_merges_ && piece.size() <= longest_word_) {
    if (const Word* word = FindWord(piece)) return ids.push_back(word->id);
  }
  if (byte_level_) return EncodeChunk(piece, scratch, ids);
  size_t begin = 0;
  char32_t previous = 0;
  bool knows_previous = false;
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = FirstCodePoint(piece.substr(i));
    const bool knows = code_point_ids_.Find(c.value) != kNoToken;
    if (knows && knows_previous && !joins_.MayJoin(previous, c.value)) {
      EncodeChunk(piece.substr(begin, i - begin), scratch, ids);
      begin = i;
    }
    previous = c.value;
    knows_previous = knows;
    i += c.length;
  }
  EncodeChunk(piece.substr(begin), scratch, ids);
}

void BpeModel::EncodeChunk(std::string_view chunk, Scratch& scratch,
                           std::vector<TokenId>& ids) const {
  if (chunk.size() <= longest_word_) {
    const Word* word = FindWord(chunk);
    if (word != nullptr && word->is_its_own_encoding) return ids.push_back(word->id);
  }
  MergeChunk(chunk, scratch);
  ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

// Leaves the ids in scratch.symbols.
void BpeModel::MergeChunk(std::string_view chunk, Scratch& scratch) const {
  scratch.symbols.clear();
  if (byte_level_) {
    for (char c : chunk) scratch.symbols.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  } else {
    AppendCodePointSymbols(chunk, scratch.symbols);
  }
  merges_.Apply(scratch.symbols, scratch.merges);
}

void BpeModel::AppendCodePointSymbols(std::string_view chunk, std::vector<TokenId>& symbols) const {
  // Byte tokens do not end a run of unknown code points, as in the `tokenizers` library, so such a
  // run may come after them.
  bool pending_unk = false;
  while (!chunk.empty()) {
    const CodePoint c = FirstCodePoint(chunk);
    const TokenId id = code_point_ids_.Find(c.value);
    if (id != kNoToken) {
      if (pending_unk) symbols.push_back(unk_id_);
      pending_unk = false;
      symbols.push_back(id);
    } else if (!AppendByteTokens(chunk.substr(0, c.length), symbols) && unk_id_ != kNoToken) {
      if (pending_unk && !fuse_unk_) symbols.push_back(unk_id_);
      pending_unk = true;
    }
    chunk.remove_prefix(c.length);
  }
  if (pending_unk) symbols.push_back(unk_id_);
}

bool BpeModel::AppendByteTokens(std::string_view code_point, std::vector<TokenId>& symbols) const {
  const auto id_of = [this](char c) { return byte_ids_[static_cast<uint8_t>(c)]; };
  for (char c : code_point) {
    if (id_of(c) == kNoToken) return false;
  }
  for (char c : code_point) symbols.push_back(id_of(c));
  return true;
}

}  // namespace quire
