#include "core/kv/block_swapper.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

// The copy of this transfer in an ordered queue, or its end.
template <typename Copies>
auto Find(Copies& copies, TransferId transfer) {
  const auto it = std::lower_bound(
      copies.begin(), copies.end(), transfer,
      [](const auto& copy, TransferId wanted) { return copy.block.transfer < wanted; });
  return it != copies.end() && it->block.transfer == transfer ? it : copies.end();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockSwapper>> BlockSwapper::Create(kernels::Device* device,
                                                                   std::byte* arena,
                                                                   const KvLayouts& classes,
                                                                   const Options& options) {
  if (device->transfers() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("KV cannot be swapped on this device (",
                                                   device->Description(),
                                                   "): it copies nothing while it computes"));
  }
  std::vector<size_t> block_bytes;
  for (const KvLayout& layout : classes) block_bytes.push_back(layout.BlockBytes());
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<HostBlockPool> host,
                         HostBlockPool::Create(device, block_bytes, options.host_bytes));
  return std::unique_ptr<BlockSwapper>(new BlockSwapper(device, arena, std::move(host), options));
}

BlockSwapper::~BlockSwapper() {
  for (Direction* direction : {&out_, &in_}) {
    if (!direction->under_way.empty()) direction->under_way.back().done->Wait();
  }
}

bool BlockSwapper::Direction::Includes(TransferId transfer) const {
  return (!waiting.empty() && waiting.front().block.transfer <= transfer) ||
         (!under_way.empty() && under_way.front().block.transfer <= transfer);
}

bool BlockSwapper::SwapOut(std::span<SwapBlock> blocks) {
  KvBlockCounts wanted{};
  for (const SwapBlock& block : blocks) ++wanted[block.cache_class];
  if (!host_->HasRoomFor(wanted)) return false;
  std::unique_ptr<kernels::Event> after = device_->RecordEvent();
  for (SwapBlock& block : blocks) {
    block.slot = host_->Take(block.cache_class);
    block.transfer = last_transfer_ = TransferId(last_transfer_.value() + 1);
    Copy& copy = out_.waiting.emplace_back();
    copy.block = block;
    copy.after = std::move(after);
  }
  BeginWhatFits();
  return true;
}

void BlockSwapper::SwapIn(std::span<SwapBlock> blocks) {
  for (SwapBlock& block : blocks) {
    host_->Release(block.cache_class, block.slot);
    Copy& copy = in_.waiting.emplace_back();
    copy.filled_by = block.transfer;
    copy.frees_slot = true;
    block.transfer = last_transfer_ = TransferId(last_transfer_.value() + 1);
    copy.block = block;
  }
  BeginWhatFits();
}

void BlockSwapper::Drop(const SwapBlock& block) {
  host_->Release(block.cache_class, block.slot);
  GiveUpSlot(block, block.transfer);
}

void BlockSwapper::CallOff(const SwapBlock& block) {
  const auto copy = Find(in_.waiting, block.transfer);
  if (copy == in_.waiting.end()) return;
  const TransferId filled_by = copy->filled_by;
  Remove(&in_, block.transfer);
  GiveUpSlot(block, filled_by);
}

// The slot is free once nothing copies to it.
void BlockSwapper::GiveUpSlot(const SwapBlock& block, TransferId filled_by) {
  if (const auto copy = Find(out_.under_way, filled_by); copy != out_.under_way.end()) {
    copy->frees_slot = true;
    return;
  }
  Remove(&out_, filled_by);
  host_->Free(block.cache_class, block.slot);
}

bool BlockSwapper::Remove(Direction* direction, TransferId transfer) {
  std::deque<Copy>& waiting = direction->waiting;
  const auto copy = Find(waiting, transfer);
  if (copy == waiting.end()) return false;
  // Those that follow it in the same call wait for the same event.
  if (const auto next = std::next(copy); next != waiting.end() && next->after == nullptr) {
    next->after = std::move(copy->after);
  }
  ended_.push_back({copy->block.cache_class, copy->block.block, transfer});
  waiting.erase(copy);
  return true;
}

// A copy in before one out, but not before that which fills its slot.
BlockSwapper::Direction* BlockSwapper::Next() {
  if (in_.waiting.empty()) return out_.waiting.empty() ? nullptr : &out_;
  const bool filled =
      out_.waiting.empty() || out_.waiting.front().block.transfer > in_.waiting.front().filled_by;
  return filled ? &in_ : &out_;
}

void BlockSwapper::Begin(Direction* direction) {
  Copy copy = std::move(direction->waiting.front());
  direction->waiting.pop_front();
  kernels::TransferQueue& transfers = *device_->transfers();
  std::byte* const slot = host_->Data(copy.block.cache_class, copy.block.slot);
  if (direction == &out_) {
    if (copy.after != nullptr) transfers.WaitFor(*copy.after);
    transfers.CopyToHost(slot, arena_ + copy.block.offset, BytesOf(copy));
  } else {
    transfers.CopyToDevice(arena_ + copy.block.offset, slot, BytesOf(copy));
  }
  copy.done = transfers.RecordEvent();
  bytes_under_way_ += BytesOf(copy);
  direction->under_way.push_back(std::move(copy));
}

void BlockSwapper::BeginWhatFits() {
  for (Direction* next = Next(); next != nullptr; next = Next()) {
    const size_t bytes = bytes_under_way_ + BytesOf(next->waiting.front());
    if (bytes_under_way_ > 0 && bytes > options_.max_bytes_under_way) return;
    Begin(next);
  }
}

void BlockSwapper::ComputeWaitsFor(TransferId in) {
  while (!in_.waiting.empty() && in_.waiting.front().block.transfer <= in) Begin(Next());
  const auto copy = Find(in_.under_way, in);
  if (copy != in_.under_way.end()) device_->WaitFor(*copy->done);
}

void BlockSwapper::FinishDone(Direction* direction) {
  std::deque<Copy>& under_way = direction->under_way;
  while (!under_way.empty() && under_way.front().done->Done()) {
    const Copy& copy = under_way.front();
    const SwapBlock& block = copy.block;
    if (copy.frees_slot) host_->Free(block.cache_class, block.slot);
    ended_.push_back({block.cache_class, block.block, block.transfer});
    bytes_under_way_ -= BytesOf(copy);
    direction->copied_bytes += BytesOf(copy);
    under_way.pop_front();
  }
}

std::vector<BlockSwapper::Ended> BlockSwapper::TakeEnded() {
  FinishDone(&out_);
  FinishDone(&in_);
  BeginWhatFits();
  return std::exchange(ended_, {});
}

bool BlockSwapper::WaitForOne() {
  const bool out = !out_.under_way.empty();
  if (!out && in_.under_way.empty()) return false;
  (out ? out_ : in_).under_way.front().done->Wait();
  return true;
}

void BlockSwapper::CheckInvariants(std::span<const SwapBlock* const> held,
                                   std::vector<std::string>* violations) const {
  std::set<std::pair<size_t, BlockId>> slots;
  KvBlockCounts held_slots{}, released_slots{};
  const auto add = [&](const SwapBlock& block, KvBlockCounts* counts) {
    ++(*counts)[block.cache_class];
    if (!slots.emplace(block.cache_class, block.slot).second) {
      violations->push_back(absl::StrCat("host slot ", block.slot.value(), " of cache class ",
                                         block.cache_class, " has two owners"));
    }
  };
  for (const SwapBlock* block : held) add(*block, &held_slots);
  size_t bytes = 0;
  for (const Direction* direction : {&out_, &in_}) {
    for (const Copy& copy : direction->under_way) bytes += BytesOf(copy);
    for (const std::deque<Copy>* copies : {&direction->waiting, &direction->under_way}) {
      for (const Copy& copy : *copies) {
        if (copy.frees_slot) add(copy.block, &released_slots);
      }
    }
  }
  if (bytes != bytes_under_way_) violations->push_back("bytes under way do not add up");
  for (size_t c = 0; c < host_->num_classes(); ++c) {
    if (held_slots[c] != host_->num_held(c) || released_slots[c] != host_->num_released(c)) {
      violations->push_back(absl::StrCat("host slots of cache class ", c, ": ", held_slots[c],
                                         " + ", released_slots[c], " != ", host_->num_held(c),
                                         " + ", host_->num_released(c)));
    }
  }
}

}  // namespace quire
