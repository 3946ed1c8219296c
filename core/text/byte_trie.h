#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quire {

// Finds the keys that a text begins with. Immutable, so any thread may use it. About 12 bytes for
// each byte of the keys.
class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;

  // Different keys, none empty, with values that are not negative; fewer than 2^31 bytes.
  explicit ByteTrie(std::vector<std::pair<std::string, int32_t>> entries);

  // Calls `on_key(length, value)` for every key that `text` begins with, shortest first.
  template <typename OnKey>
  void ForEachPrefix(std::string_view text, OnKey on_key) const {
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = Child(node, static_cast<uint8_t>(text[i]));
      if (node == kNone) return;
      if (nodes_[node].value != kNone) on_key(i + 1, nodes_[node].value);
    }
  }

  struct Match {
    size_t length = 0;
    int32_t value = kNone;
  };
  Match Longest(std::string_view text) const;

 private:
  struct Node {
    int32_t first_child = 0;
    uint16_t child_count = 0;
    uint8_t label = 0;
    int32_t value = kNone;
  };

  int32_t Child(int32_t node, uint8_t label) const;

  std::vector<Node> nodes_;  // the children of each stand together, sorted by label
};

}  // namespace quire
