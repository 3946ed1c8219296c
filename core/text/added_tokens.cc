#include "core/text/added_tokens.h"

#include "core/base/status_macros.h"
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
  nodes_[node].token = token;
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

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    Trie& trie = tokens_[i].normalized ? normalized_ : verbatim_;
    trie.Insert(tokens_[i].content, static_cast<int32_t>(i));
  }
}

absl::Status AddedTokenMatcher::Split(std::string_view text, bool parse_special,
                                      const Sink& sink) const {
  const auto split_rest = [&](std::string_view rest) {
    return SplitBy(normalized_, rest, parse_special, sink);
  };
  return SplitBy(verbatim_, text, parse_special, {split_rest, sink.on_token});
}

absl::Status AddedTokenMatcher::SplitBy(const Trie& trie, std::string_view text, bool parse_special,
                                        const Sink& sink) const {
  size_t done = 0;  // what lies before it has gone to the sink
  for (Trie::Match match = trie.FindFrom(text, 0); match.token >= 0;
       match = trie.FindFrom(text, match.end)) {
    const AddedToken& token = tokens_[match.token];
    if (token.special && !parse_special) continue;
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
