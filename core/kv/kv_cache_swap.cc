#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/kv/kv_cache_manager.h"

// Sequences whose KV is in host memory, or on its way there or back.

namespace quire {

void KvCacheManager::SetSwapper(std::unique_ptr<BlockSwapper> swapper) {
  QUIRE_CHECK(swapper_ == nullptr && sequences_.empty()) << "a swapper is set once, at the start";
  swapper_ = std::move(swapper);
}

bool KvCacheManager::SwapOut(SequenceId sequence, StepId last_launched) {
  QUIRE_CHECK(swapper_ != nullptr) << "nothing swaps";
  const SequenceKv& kv = KvOf(sequence);
  if (!HasArrived(sequence) || kv.began_found) return false;
  for (size_t c = 0; c < classes_.size(); ++c) {
    if (classes_[c]->IsShared(kv.tables[c])) return false;
  }
  std::vector<SwapBlock> blocks;
  for (size_t c = 0; c < classes_.size(); ++c) {
    const BlockTable& table = kv.tables[c];
    for (auto b = static_cast<size_t>(table.passed_blocks); b < table.blocks.size(); ++b) {
      blocks.push_back({.cache_class = c,
                        .block = table.blocks[b],
                        .offset = classes_[c]->OffsetOf(table.blocks[b])});
    }
  }
  if (!swapper_->SwapOut(blocks)) return false;
  SwappedKv out;
  out.tenant = kv.tenant;
  out.scope = kv.prefix.scope;
  out.findable = kv.prefix.findable;
  ForgetPrefix(sequence);
  out.filled_tokens = kv.filled_tokens;
  out.last_launched = last_launched;
  for (const SwapBlock& block : blocks) {
    classes_[block.cache_class]->Leave(block.block, last_launched, block.transfer);
    out.blocks[block.cache_class].push_back(block);
  }
  for (size_t c = 0; c < classes_.size(); ++c) {
    out.passed_blocks[c] = kv.tables[c].passed_blocks;
    out.promise[c] = kv.tables[c].promised_blocks;
    classes_[c]->Promise(-out.promise[c]);
    filled_slots_[c] -= FilledSlots(kv, c);
  }
  sequences_.erase(sequence);
  swapped_.emplace(sequence, std::move(out));
  TakeTransfers();
  return true;
}

int64_t KvCacheManager::HeldBytes(SequenceId sequence) const {
  KvBlockCounts held{};
  for (size_t c = 0; c < classes_.size(); ++c) held[c] = Table(sequence, c).held_blocks();
  return BytesOf(held);
}

KvBlockCounts KvCacheManager::SwappedPromise(SequenceId sequence) const {
  return SwappedOf(sequence).promise;
}

bool KvCacheManager::CanSwapIn(SequenceId sequence) const {
  return SwappedOf(sequence).last_launched <= completed_step_;
}

void KvCacheManager::SwapIn(SequenceId sequence) {
  const SwappedKv& out = SwappedOf(sequence);
  QUIRE_CHECK(CanSwapIn(sequence))
      << "step " << out.last_launched.value() << " still names sequence " << sequence.value();
  QUIRE_CHECK(Budget().PassingFloors().TryTake(out.promise)) << "a swap-in beyond the KV budget";
  SequenceKv kv;
  kv.tenant = out.tenant;
  kv.prefix.scope = out.scope;
  kv.prefix.findable = out.findable;
  kv.filled_tokens = out.filled_tokens;
  for (size_t c = 0; c < classes_.size(); ++c) {
    BlockTable& table = kv.tables[c];
    table.promised_blocks = out.promise[c];
    table.passed_blocks = out.passed_blocks[c];
    table.blocks.assign(static_cast<size_t>(table.passed_blocks), kNoBlock);
    classes_[c]->Promise(table.promised_blocks);
    const size_t entries = table.blocks.size() + out.blocks[c].size();
    const int64_t tokens = static_cast<int64_t>(entries) * classes_[c]->layout().block_tokens;
    classes_[c]->Grow(&table, tokens, kv.tenant);
    for (size_t i = 0; i < out.blocks[c].size(); ++i) {
      SwapBlock& block = kv.arriving.emplace_back(out.blocks[c][i]);
      block.block = table.blocks[static_cast<size_t>(table.passed_blocks) + i];
      block.offset = classes_[c]->OffsetOf(block.block);
    }
    filled_slots_[c] += FilledSlots(kv, c);
  }
  swapper_->SwapIn(kv.arriving);
  swapped_.erase(sequence);
  sequences_.emplace(sequence, std::move(kv));
}

bool KvCacheManager::HasArrived(SequenceId sequence) const {
  const std::vector<SwapBlock>& arriving = KvOf(sequence).arriving;
  return arriving.empty() || swapper_->HasArrived(arriving.back().transfer);
}

bool KvCacheManager::TakeTransfers() {
  const std::vector<BlockSwapper::Ended> all = swapper_->TakeEnded();
  for (const BlockSwapper::Ended& ended : all) {
    classes_[ended.cache_class]->TransferEnded(ended.block, ended.transfer, completed_step_);
  }
  return !all.empty();
}

bool KvCacheManager::WaitForTransfer() {
  if (swapper_ == nullptr) return false;
  // Those that were called off are over, too.
  return TakeTransfers() || (swapper_->WaitForOne() && TakeTransfers());
}

void KvCacheManager::AwaitArrival(SequenceKv* kv) {
  const TransferId last = kv->arriving.back().transfer;
  if (swapper_->HasArrived(last)) {
    kv->arriving.clear();
  } else {
    swapper_->ComputeWaitsFor(last);
  }
}

// As KvClassCache::Pass does, for the steps that were on their way when the sequence was swapped
// out.
void KvCacheManager::PassSwapped(SwappedKv* kv, int64_t kv_len) {
  for (size_t c = 0; c < classes_.size(); ++c) {
    const int32_t passed = classes_[c]->layout().PassedBlocks(kv_len);
    if (passed <= kv->passed_blocks[c]) continue;
    std::vector<SwapBlock>& blocks = kv->blocks[c];
    const auto end = blocks.begin() + (passed - kv->passed_blocks[c]);
    for (auto block = blocks.begin(); block != end; ++block) swapper_->Drop(*block);
    blocks.erase(blocks.begin(), end);
    kv->passed_blocks[c] = passed;
  }
}

void KvCacheManager::FreeSwapped(SequenceId sequence) {
  for (const std::vector<SwapBlock>& blocks : SwappedOf(sequence).blocks) {
    for (const SwapBlock& block : blocks) swapper_->Drop(block);
  }
  swapped_.erase(sequence);
  TakeTransfers();
}

// Blocks that a copy may still write to leave their tables; the others are left to Release().
void KvCacheManager::FreeArriving(SequenceKv* kv, StepId last_launched) {
  for (const SwapBlock& block : kv->arriving) {
    if (swapper_->HasArrived(block.transfer)) continue;
    swapper_->CallOff(block);
    classes_[block.cache_class]->Leave(block.block, last_launched, block.transfer);
    std::vector<BlockId>& blocks = kv->tables[block.cache_class].blocks;
    const auto entry = std::find(blocks.begin(), blocks.end(), block.block);
    QUIRE_CHECK(entry != blocks.end()) << "a block was passed before it arrived";
    *entry = kNoBlock;
  }
}

const KvCacheManager::SwappedKv& KvCacheManager::SwappedOf(SequenceId sequence) const {
  const auto it = swapped_.find(sequence);
  QUIRE_CHECK(it != swapped_.end()) << "sequence " << sequence.value() << " is not swapped out";
  return it->second;
}

}  // namespace quire
