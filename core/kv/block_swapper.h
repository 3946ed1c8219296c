#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/kv/host_block_pool.h"
#include "core/kv/kv_layout.h"
#include "kernels/api/device.h"

namespace quire {

// A block of a sequence that is swapped.
struct SwapBlock {
  size_t cache_class = 0;
  BlockId block;             // on the device
  size_t offset = 0;         // of that block, from the start of the arena
  BlockId slot = {};         // in host memory; SwapOut sets it
  TransferId transfer = {};  // its latest copy; SwapOut and SwapIn set it
};

// Copies KV blocks to pinned host memory and back, on the device's transfer queue, beside its
// compute. Order, for which waits are enqueued on the device and no thread blocks:
//
//   out  reads a block after all that compute was given before SwapOut
//   in   follows the copy out that filled its slot; ComputeWaitsFor() makes later compute follow it
//
// The caller holds back what a copy may still touch: a block that was swapped out is not written,
// and one that is coming in not given to anybody else, until TakeEnded() has named its transfer;
// and a block given to SwapIn is touched by no step on its way. Slots are the swapper's own affair.
//
// At most `max_bytes_under_way` are given to the device at a time (but always one block); the rest
// waits here, where copies in overtake copies out, so that what is to run soon does not wait for
// what was moved away. A failed device ends every transfer; Device::CheckError() then says so.
// Engine thread only; device and arena must outlive it.
class BlockSwapper {
 public:
  struct Options {
    size_t host_bytes = 0;
    // As much as a fast link moves between two steps, since only then new copies begin.
    size_t max_bytes_under_way = size_t{1} << 30;
  };
  // A copy that is over, or was called off: it touches its block no more.
  struct Ended {
    size_t cache_class = 0;
    BlockId block;
    TransferId transfer;
  };

  // An error where the device has no transfer queue or its host memory is not to be had.
  static absl::StatusOr<std::unique_ptr<BlockSwapper>> Create(kernels::Device* device,
                                                              std::byte* arena,
                                                              const KvLayouts& classes,
                                                              const Options& options);
  ~BlockSwapper();  // waits for what is under way
  BlockSwapper(const BlockSwapper&) = delete;
  BlockSwapper& operator=(const BlockSwapper&) = delete;

  // Copies the blocks of a sequence to slots of their own; all, or none and false where there is
  // no room.
  [[nodiscard]] bool SwapOut(std::span<SwapBlock> blocks);
  // Copies slots back to `block` and `offset`, which the caller has set anew, and gives them up.
  void SwapIn(std::span<SwapBlock> blocks);
  // Of a block that is out: gives up its slot. Its copy is called off if it has not begun.
  void Drop(const SwapBlock& block);
  // Of a block that is coming in: calls off its copy if it has not begun.
  void CallOff(const SwapBlock& block);

  // What is given to compute from now on runs after this copy in and those before it, which are
  // given to the device now if they wait here.
  void ComputeWaitsFor(TransferId in);
  // Whether this copy in and those before it had ended when TakeEnded() last looked.
  bool HasArrived(TransferId in) const { return !in_.Includes(in); }

  // Transfers that have ended since the last call; begins others in their place.
  std::vector<Ended> TakeEnded();
  // Blocks until one that is under way is over; false where nothing is.
  bool WaitForOne();

  // Compares the slots with what is on its way and with `held`, the slots of the blocks that are
  // out; appends what does not agree.
  void CheckInvariants(std::span<const SwapBlock* const> held,
                       std::vector<std::string>* violations) const;
  const HostBlockPool& host() const { return *host_; }
  size_t bytes_under_way() const { return bytes_under_way_; }
  // That were copied since the start.
  uint64_t swapped_out_bytes() const { return out_.copied_bytes; }
  uint64_t swapped_in_bytes() const { return in_.copied_bytes; }

 private:
  struct Copy {
    SwapBlock block;
    TransferId filled_by;                   // in: the copy out before it
    bool frees_slot = false;                // when it is over
    std::unique_ptr<kernels::Event> after;  // out: set in the first of each call
    std::unique_ptr<kernels::Event> done;   // once under way
  };
  struct Direction {
    std::deque<Copy> waiting;  // both ordered by transfer
    std::deque<Copy> under_way;
    uint64_t copied_bytes = 0;

    bool Includes(TransferId transfer) const;  // or any before it
  };

  BlockSwapper(kernels::Device* device, std::byte* arena, std::unique_ptr<HostBlockPool> host,
               const Options& options)
      : device_(device), arena_(arena), options_(options), host_(std::move(host)) {}

  size_t BytesOf(const Copy& copy) const { return host_->block_bytes(copy.block.cache_class); }
  Direction* Next();
  void Begin(Direction* direction);
  void BeginWhatFits();
  void FinishDone(Direction* direction);
  bool Remove(Direction* direction, TransferId transfer);
  void GiveUpSlot(const SwapBlock& block, TransferId filled_by);

  kernels::Device* const device_;
  std::byte* const arena_;
  const Options options_;
  const std::unique_ptr<HostBlockPool> host_;
  Direction out_;
  Direction in_;
  std::vector<Ended> ended_;
  size_t bytes_under_way_ = 0;
  TransferId last_transfer_;
};

}  // namespace quire
