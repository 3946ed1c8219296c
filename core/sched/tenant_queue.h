#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/ids.h"
#include "core/request/sequence.h"

namespace quire {

// One tenant's waiting sequences, in the order in which they are to start: that of their arrival,
// where each step of priority counts as having arrived `ageing` earlier. So of requests that come
// at about the same time the higher priority goes first, and none is passed by those that come more
// than priority * ageing after it. A preempted sequence takes its old place again.
//
// Some wait for something else than their turn, and are not offered: parked ones, for a few steps,
// and those that are set aside, for as long as it takes. All operations take O(log n). Owns what
// waits. Engine thread only.
class TenantQueue {
 public:
  explicit TenantQueue(Duration ageing) : ageing_(ageing) {}

  // `priority`: after the tenant's cap.
  void Push(std::unique_ptr<Sequence> sequence, int32_t priority);
  // The next to start, of those that wait for their turn; null where there is none.
  Sequence* Front() const { return ready_.empty() ? nullptr : ready_.begin()->second.get(); }
  // Null when it does not wait here.
  std::unique_ptr<Sequence> Remove(SequenceId id);

  void Park(SequenceId id);
  // False when it is not parked here.
  bool Unpark(SequenceId id);
  // Parked or not.
  void SetAside(SequenceId id);
  // False when it is not set aside here.
  bool BringBack(SequenceId id);

  int64_t size() const { return static_cast<int64_t>(places_.size()); }
  int64_t ready() const { return static_cast<int64_t>(ready_.size()); }
  int64_t parked() const { return static_cast<int64_t>(parked_.size()); }
  int64_t set_aside() const { return static_cast<int64_t>(aside_.size()); }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto* sequences : {&ready_, &parked_, &aside_}) {
      for (const auto& [place, sequence] : *sequences) visit(sequence.get());
    }
  }

 private:
  using Place = std::pair<TimePoint, RequestId>;  // of equal times, the older request first
  using Sequences = std::map<Place, std::unique_ptr<Sequence>>;

  // Its node, from where it is.
  Sequences::node_type Extract(const Place& place);
  // False when it is not there.
  bool MakeReady(SequenceId id, Sequences* from);

  const Duration ageing_;
  Sequences ready_;
  Sequences parked_;
  Sequences aside_;
  absl::flat_hash_map<SequenceId, Place> places_;
  int64_t prompt_tokens_ = 0;
};

}  // namespace quire
