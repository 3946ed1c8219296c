#include "core/text/added_tokens.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/text/character_sets.h"
#include "core/text/utf8.h"

namespace quire {

void AddedTokenMatcher::Trie::Insert(std::string_view content, int32_t token) {
  starts_[static_cast<uint8_t>(content[0])] = true;
  int32_t node = 0;
  for (char byte : content) {
    int32_t next = Child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_[node].children.emplace_back(byte, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  if (nodes_[node].token < 0) nodes_[node].token = token;
}

int32_t AddedTokenMatcher::Trie::Child(int32_t node, char byte) const {
  for (const auto& [label, child] : nodes_[node].children) {
    if (label == byte) return child;
  }
  return -1;
}

AddedTokenMatcher::Trie::Match AddedTokenMatcher::Trie::LongestAt(std::string_view text,
                                                                  size_t begin) const {
  Match match;
  int32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    node = Child(node, text[i]);
    if (node < 0) break;
    if (nodes_[node].token >= 0) match = {begin, i + 1, nodes_[node].token};
  }
  return match;
}

AddedTokenMatcher::Trie::Match AddedTokenMatcher::Trie::FindFrom(std::string_view text,
                                                                 size_t begin) const {
  for (; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    if (const Match match = LongestAt(text, begin); match.token >= 0) return match;
  }
  return {};
}

bool TouchesRange(std::span<const Tokenizer::ByteRange> ranges, size_t begin, size_t end) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), begin,
                       [](size_t at, const Tokenizer::ByteRange& range) { return at < range.end; });
  return after != ranges.end() && after->begin < end;
}

std::vector<Tokenizer::ByteRange> RangesWithin(std::span<const Tokenizer::ByteRange> ranges,
                                               size_t begin, size_t end) {
  std::vector<Tokenizer::ByteRange> within;
  for (const Tokenizer::ByteRange& range : ranges) {
    if (range.end <= begin || range.begin >= end) continue;
    within.push_back({std::max(range.begin, begin) - begin, std::min(range.end, end) - begin});
  }
  return within;
}

bool AddedTokenMatcher::has_special() const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [](const auto& token) { return token.special; });
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    trie_.Insert(tokens_[i].content, static_cast<int32_t>(i));
    if (tokens_[i].single_word && !word_.has_value()) word_ = SplitRegex::FromPcre2(WordPattern());
  }
}

bool AddedTokenMatcher::TouchesWord(std::string_view text, const Trie::Match& match) const {
  const auto is_word = [this](std::string_view code_point) {
    bool found = false;
    // One code point is within every limit, so the search cannot fail.
    word_
        ->ForEachMatch(code_point,
                       [&](size_t, size_t) {
                         found = true;
                         return absl::OkStatus();
                       })
        .IgnoreError();
    return found;
  };
  const std::string_view before = text.substr(0, match.begin);
  const std::string_view after = text.substr(match.end);
  return (!before.empty() && is_word(LastCodePoint(before))) ||
         (!after.empty() && is_word(after.substr(0, FirstCodePoint(after).length)));
}

absl::Status AddedTokenMatcher::Split(std::string_view text, bool parse_special, const Sink& sink,
                                      std::span<const Tokenizer::ByteRange> literal) const {
  if (tokens_.empty()) return text.empty() ? absl::OkStatus() : sink.on_text(text);
  size_t done = 0;  // what lies before it has gone to the sink
  size_t next = 0;  // where the search goes on
  for (Trie::Match match = trie_.FindFrom(text, 0); match.token >= 0;
       match = trie_.FindFrom(text, next)) {
    const AddedToken& token = tokens_[match.token];
    next = match.end;
    if (token.special && TouchesRange(literal, match.begin, match.end)) {
      next = match.begin + 1;  // it must not hide one that begins inside it
      continue;
    }
    if (token.special && !parse_special) continue;
    if (token.single_word && TouchesWord(text, match)) continue;
    size_t begin = match.begin;
    size_t end = match.end;
    if (token.lstrip && begin > done) {
      begin -= TrailingWhitespaceLength(text.substr(done, begin - done));
    }
    if (token.rstrip) end += LeadingWhitespaceLength(text.substr(end));
    if (begin > done) QUIRE_RETURN_IF_ERROR(sink.on_text(text.substr(done, begin - done)));
    sink.on_token(token.id);
    // An rstrip may have swallowed white space that a later token begins with; the `tokenizers`
    // library emits that token all the same.
    done = end;
  }
  return done < text.size() ? sink.on_text(text.substr(done)) : absl::OkStatus();
}

}  // namespace quire
