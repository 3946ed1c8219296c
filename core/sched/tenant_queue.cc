#include "core/sched/tenant_queue.h"

#include <utility>

#include "core/base/check.h"

namespace quire {

void TenantQueue::Push(std::unique_ptr<Sequence> sequence) {
  const SequenceId id = sequence->id();
  prompt_tokens_ += sequence->prompt_tokens();
  queue_.push_back(std::move(sequence));
  const bool inserted = positions_.emplace(id, std::prev(queue_.end())).second;
  QUIRE_CHECK(inserted) << "sequence " << id.value() << " waits already";
}

std::unique_ptr<Sequence> TenantQueue::Pop() {
  QUIRE_CHECK(!queue_.empty());
  return Remove(queue_.front()->id());
}

Sequence* TenantQueue::Find(SequenceId id) const {
  const auto it = positions_.find(id);
  return it == positions_.end() ? nullptr : it->second->get();
}

std::unique_ptr<Sequence> TenantQueue::Remove(SequenceId id) {
  const auto it = positions_.find(id);
  if (it == positions_.end()) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(*it->second);
  queue_.erase(it->second);
  positions_.erase(it);
  prompt_tokens_ -= sequence->prompt_tokens();
  return sequence;
}

}  // namespace quire
