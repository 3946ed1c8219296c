#include "core/text/byte_trie.h"

#include <algorithm>

namespace quire {

// Level by level: a node stands for the range of sorted keys that share its bytes.
ByteTrie::ByteTrie(std::vector<std::pair<std::string, int32_t>> entries) : nodes_(1) {
  std::sort(entries.begin(), entries.end());
  struct Range {
    size_t begin;
    size_t end;
  };
  std::vector<Range> level = {{0, entries.size()}};
  size_t first_of_level = 0;
  for (size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next;
    const size_t first_of_next = nodes_.size();
    for (size_t i = 0; i < level.size(); ++i) {
      auto [at, end] = level[i];
      if (at < end && entries[at].first.size() == depth) {
        nodes_[first_of_level + i].value = entries[at++].second;
      }
      nodes_[first_of_level + i].first_child = static_cast<int32_t>(nodes_.size());
      while (at < end) {
        const char label = entries[at].first[depth];
        const size_t begin = at;
        while (at < end && entries[at].first[depth] == label) ++at;
        next.push_back({begin, at});
        nodes_.push_back({0, 0, static_cast<uint8_t>(label), kNone});
        ++nodes_[first_of_level + i].child_count;
      }
    }
    level = std::move(next);
    first_of_level = first_of_next;
  }
}

int32_t ByteTrie::Child(int32_t node, uint8_t label) const {
  const auto begin = nodes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].child_count;
  const auto child = std::lower_bound(
      begin, end, label, [](const Node& n, uint8_t wanted) { return n.label < wanted; });
  if (child == end || child->label != label) return kNone;
  return static_cast<int32_t>(child - nodes_.begin());
}

ByteTrie::Match ByteTrie::Longest(std::string_view text) const {
  Match match;
  ForEachPrefix(text, [&](size_t length, int32_t value) { match = {length, value}; });
  return match;
}

}  // namespace quire
