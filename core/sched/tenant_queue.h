#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/sequence.h"

namespace quire {

// One tenant's waiting sequences, first come, first served. Push, pop and removal are O(1).
// Owns what waits. Engine thread only.
class TenantQueue {
 public:
  void Push(std::unique_ptr<Sequence> sequence);
  const Sequence* Front() const { return queue_.empty() ? nullptr : queue_.front().get(); }
  std::unique_ptr<Sequence> Pop();
  Sequence* Find(SequenceId id) const;
  // Null when it does not wait here.
  std::unique_ptr<Sequence> Remove(SequenceId id);

  int64_t size() const { return static_cast<int64_t>(queue_.size()); }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  const std::list<std::unique_ptr<Sequence>>& sequences() const { return queue_; }

 private:
  using Position = std::list<std::unique_ptr<Sequence>>::iterator;

  std::list<std::unique_ptr<Sequence>> queue_;
  absl::flat_hash_map<SequenceId, Position> positions_;
  int64_t prompt_tokens_ = 0;
};

}  // namespace quire
