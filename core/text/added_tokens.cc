#include "core/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "core/base/status_macros.h"
#include "core/text/character_sets.h"
#include "core/text/utf8.h"

namespace quire {

namespace {

// Of tokens with the same content the first counts.
ByteTrie ContentsOf(const std::vector<AddedToken>& tokens) {
  std::vector<std::pair<std::string, int32_t>> entries;
  absl::flat_hash_set<std::string> seen;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!seen.insert(tokens[i].content).second) continue;
    entries.emplace_back(tokens[i].content, static_cast<int32_t>(i));
  }
  return ByteTrie(std::move(entries));
}

using Ranges = std::span<const Tokenizer::ByteRange>;

// The first range that ends after `begin`.
Ranges::iterator FirstAfter(Ranges ranges, size_t begin) {
  return std::upper_bound(
      ranges.begin(), ranges.end(), begin,
      [](size_t at, const Tokenizer::ByteRange& range) { return at < range.end; });
}

bool Allows(Ranges literal, size_t begin, size_t end, bool special) {
  const auto range = FirstAfter(literal, begin);
  if (range == literal.end() || range->begin >= end) return true;
  return !special && range->begin <= begin && end <= range->end;
}

}  // namespace

std::vector<Tokenizer::ByteRange> RangesWithin(std::span<const Tokenizer::ByteRange> ranges,
                                               size_t begin, size_t end) {
  std::vector<Tokenizer::ByteRange> within;
  for (auto range = FirstAfter(ranges, begin); range != ranges.end() && range->begin < end;
       ++range) {
    within.push_back({std::max(range->begin, begin) - begin, std::min(range->end, end) - begin});
  }
  return within;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)),
      has_special_(std::any_of(tokens_.begin(), tokens_.end(),
                               [](const AddedToken& token) { return token.special; })),
      trie_(ContentsOf(tokens_)) {
  for (const AddedToken& token : tokens_) {
    starts_[static_cast<uint8_t>(token.content[0])] = true;
    if (token.single_word && !word_.has_value()) word_ = SplitRegex::FromPcre2(WordPattern());
  }
}

AddedTokenMatcher::Match AddedTokenMatcher::LongestAt(std::string_view text, size_t begin,
                                                      Ranges literal) const {
  Match match;
  trie_.ForEachPrefix(text.substr(begin), [&](size_t length, int32_t token) {
    const size_t end = begin + length;
    if (Allows(literal, begin, end, tokens_[token].special)) match = {begin, end, token};
  });
  return match;
}

AddedTokenMatcher::Match AddedTokenMatcher::FindFrom(std::string_view text, size_t begin,
                                                     Ranges literal) const {
  for (; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    const Match match = LongestAt(text, begin, literal);
    if (match.token != ByteTrie::kNone) return match;
  }
  return {};
}

bool AddedTokenMatcher::TouchesWord(std::string_view text, const Match& match) const {
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
  size_t done = 0;        // what lies before it has gone to the sink
  size_t spaces_end = 0;  // of the last run of white space that was swallowed
  for (Match match = FindFrom(text, 0, literal); match.token != ByteTrie::kNone;
       match = FindFrom(text, match.end, literal)) {
    const AddedToken& token = tokens_[match.token];
    if (token.special && !parse_special) continue;
    if (token.single_word && TouchesWord(text, match)) continue;
    size_t begin = match.begin;
    size_t end = match.end;
    if (token.lstrip && begin > done) {
      begin -= TrailingWhitespaceLength(text.substr(done, begin - done));
    }
    if (token.rstrip && end >= spaces_end) {
      spaces_end = end + LeadingWhitespaceLength(text.substr(end));
    }
    if (token.rstrip) end = spaces_end;
    if (begin > done) QUIRE_RETURN_IF_ERROR(sink.on_text(text.substr(done, begin - done)));
    sink.on_token(token.id);
    // An rstrip may have swallowed white space that a later token begins with; the `tokenizers`
    // library emits that token all the same.
    done = end;
  }
  return done < text.size() ? sink.on_text(text.substr(done)) : absl::OkStatus();
}

}  // namespace quire
