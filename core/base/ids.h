#pragma once

#include <compare>
#include <cstdint>
#include <utility>

namespace quire {

// Integer ids that do not mix: passing a BlockId where a SequenceId is meant does not compile.
template <typename Tag, typename Rep>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

// Index into the vocabulary. Plain, since arrays of it go to kernels as they are.
using TokenId = int32_t;

using RequestId = StrongId<struct RequestIdTag, uint64_t>;    // unique per engine, given by it
using SequenceId = StrongId<struct SequenceIdTag, uint64_t>;  // unique per engine
using TenantId = StrongId<struct TenantIdTag, uint32_t>;      // index into the tenant table
using BlockId = StrongId<struct BlockIdTag, uint32_t>;        // dense, one pool
using StepId = StrongId<struct StepIdTag, uint64_t>;          // launch order, from 1
using TransferId = StrongId<struct TransferIdTag, uint64_t>;  // one block's copy, from 1

// Stands in a block table for a block that was given up because nothing looks at it any more.
inline constexpr BlockId kNoBlock(UINT32_MAX);

}  // namespace quire
