#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quire {

// Finds the first occurrence of any of a few strings in a byte stream that arrives in pieces
// (Knuth, Morris and Pratt, 1977, one automaton a string). Cost: bytes x strings; allocates at
// construction alone. One stream's state, one thread.
class StopMatcher {
 public:
  StopMatcher() = default;
  explicit StopMatcher(const std::vector<std::string>& patterns);

  // Feeds the next bytes. Returns true when a string has been completed; then trim_bytes() counts
  // the bytes from the start of the match to the end of what was fed. Of several matches the one
  // that ends first wins, among those the longest. Nothing may be fed after a match.
  bool Feed(std::string_view bytes);
  // Feeds bytes in which no match counts, though one that ends later may begin there.
  void Pass(std::string_view bytes);

  uint32_t trim_bytes() const { return trim_bytes_; }
  // The part of trim_bytes() that is behind the match.
  uint32_t rest_bytes() const { return rest_bytes_; }
  // How many of the last bytes fed are the start of some string: they may turn out to be part of
  // a match.
  uint32_t partial_bytes() const;

 private:
  struct Automaton {
    std::string pattern;
    std::vector<uint32_t> fallback;  // [i]: longest border of the first i bytes
    uint32_t matched = 0;
  };
  static bool Advance(Automaton* automaton, char byte);

  std::vector<Automaton> automata_;
  uint32_t trim_bytes_ = 0;
  uint32_t rest_bytes_ = 0;
};

}  // namespace quire
