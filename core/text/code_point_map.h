#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "core/base/ids.h"

namespace quire {

// Maps code points to the tokens that spell exactly one. Immutable once filled, so any thread may
// use it. 17 KiB, and 1 KiB for each block of 256 code points in use.
class CodePointMap {
 public:
  static constexpr TokenId kNone = -1;

  CodePointMap() : page_of_(kCodePoints / kPageSize, 0), pages_(1) { pages_[0].fill(kNone); }

  void Set(char32_t code_point, TokenId id) {
    auto& page = page_of_[code_point / kPageSize];
    if (page == 0) {
      page = static_cast<int32_t>(pages_.size());
      pages_.push_back(pages_[0]);
    }
    pages_[page][code_point % kPageSize] = id;
  }

  TokenId Find(char32_t code_point) const {
    return pages_[page_of_[code_point / kPageSize]][code_point % kPageSize];
  }

 private:
  static constexpr size_t kCodePoints = 0x110000;
  static constexpr size_t kPageSize = 256;

  std::vector<int32_t> page_of_;
  std::vector<std::array<TokenId, kPageSize>> pages_;  // the first is empty
};

}  // namespace quire
