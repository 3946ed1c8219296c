#include "core/sched/tenant_queue.h"

#include "core/base/check.h"

namespace quire {

void TenantQueue::Push(std::unique_ptr<Sequence> sequence, int32_t priority) {
  const Request& request = sequence->request();
  const Place place(request.arrival - ageing_ * priority, request.id);
  const bool inserted = places_.emplace(sequence->id(), place).second;
  QUIRE_CHECK(inserted) << "sequence " << sequence->id().value() << " waits already";
  prompt_tokens_ += sequence->prompt_tokens();
  ready_.emplace(place, std::move(sequence));
}

std::unique_ptr<Sequence> TenantQueue::Remove(SequenceId id) {
  const auto it = places_.find(id);
  if (it == places_.end()) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(Extract(it->second).mapped());
  places_.erase(it);
  prompt_tokens_ -= sequence->prompt_tokens();
  return sequence;
}

void TenantQueue::Park(SequenceId id) {
  const auto it = places_.find(id);
  QUIRE_CHECK(it != places_.end() && ready_.contains(it->second)) << id.value();
  parked_.insert(ready_.extract(it->second));
}

bool TenantQueue::Unpark(SequenceId id) { return MakeReady(id, &parked_); }

void TenantQueue::SetAside(SequenceId id) {
  const auto it = places_.find(id);
  QUIRE_CHECK(it != places_.end()) << id.value();
  aside_.insert(Extract(it->second));
}

bool TenantQueue::BringBack(SequenceId id) { return MakeReady(id, &aside_); }

TenantQueue::Sequences::node_type TenantQueue::Extract(const Place& place) {
  for (Sequences* const sequences : {&ready_, &parked_, &aside_}) {
    if (auto node = sequences->extract(place); !node.empty()) return node;
  }
  return {};
}

bool TenantQueue::MakeReady(SequenceId id, Sequences* from) {
  const auto it = places_.find(id);
  if (it == places_.end()) return false;
  auto node = from->extract(it->second);
  if (node.empty()) return false;
  ready_.insert(std::move(node));
  return true;
}

}  // namespace quire
