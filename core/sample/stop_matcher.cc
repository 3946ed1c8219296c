#include "core/sample/stop_matcher.h"

#include <algorithm>

#include "core/base/check.h"

namespace quire {

StopMatcher::StopMatcher(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    QUIRE_CHECK(!pattern.empty());
    Automaton automaton{pattern, std::vector<uint32_t>(pattern.size() + 1, 0), 0};
    uint32_t border = 0;
    for (size_t i = 1; i < pattern.size(); ++i) {
      while (border > 0 && pattern[i] != pattern[border]) border = automaton.fallback[border];
      if (pattern[i] == pattern[border]) ++border;
      automaton.fallback[i + 1] = border;
    }
    automata_.push_back(std::move(automaton));
  }
}

bool StopMatcher::Advance(Automaton* a, char byte) {
  while (a->matched > 0 && a->pattern[a->matched] != byte) a->matched = a->fallback[a->matched];
  if (a->pattern[a->matched] == byte) ++a->matched;
  return a->matched == a->pattern.size();
}

bool StopMatcher::Feed(std::string_view bytes) {
  QUIRE_CHECK(trim_bytes_ == 0) << "a stream ends at its first match";
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint32_t longest = 0;
    for (Automaton& automaton : automata_) {
      if (Advance(&automaton, bytes[i])) longest = std::max(longest, automaton.matched);
    }
    if (longest > 0) {
      rest_bytes_ = static_cast<uint32_t>(bytes.size() - i - 1);
      trim_bytes_ = longest + rest_bytes_;
      return true;
    }
  }
  return false;
}

void StopMatcher::Pass(std::string_view bytes) {
  for (char byte : bytes) {
    for (Automaton& a : automata_) {
      if (Advance(&a, byte)) a.matched = a.fallback[a.matched];
    }
  }
}

uint32_t StopMatcher::partial_bytes() const {
  uint32_t longest = 0;
  for (const Automaton& automaton : automata_) longest = std::max(longest, automaton.matched);
  return longest;
}

}  // namespace quire
