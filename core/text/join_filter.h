#pragma once

#include <cstdint>
#include <vector>

namespace quire {

// Which two code points a merge may ever put into one token. Where no merge can, the merges on both
// sides are independent, and a long text falls into short ones. A Bloom filter with one hash: it
// may say that a pair joins though none does, which costs time and changes no token.
class JoinFilter {
 public:
  JoinFilter() : bits_(kBits / 64, 0) {}

  void Add(char32_t left, char32_t right) {
    const uint32_t bit = BitOf(left, right);
    bits_[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  void AddAll() { bits_.assign(kBits / 64, ~uint64_t{0}); }

  bool MayJoin(char32_t left, char32_t right) const {
    const uint32_t bit = BitOf(left, right);
    return (bits_[bit / 64] >> (bit % 64) & 1) != 0;
  }

 private:
  static constexpr uint32_t kBits = 1 << 20;  // vocabularies have 10^4 to 10^5 pairs

  static uint32_t BitOf(char32_t left, char32_t right) {
    const uint64_t pair = uint64_t{left} << 32 | right;
    return static_cast<uint32_t>((pair * 0x9E3779B97F4A7C15u) >> 44);
  }

  std::vector<uint64_t> bits_;
};

}  // namespace quire
