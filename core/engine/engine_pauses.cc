#include <vector>

#include "core/engine/engine.h"

// Requests whose clients do not read what there is.

namespace quire {

void Engine::ApplyPause(RequestId id, bool paused) {
  // Unknown ids have ended already.
  const auto it = live_.find(id);
  if (it == live_.end()) return;
  LiveRequest& live = it->second;
  if (!paused) return Resume(&live);
  Sequence& sequence = *live.sequence;
  if (sequence.paused() || !accepting()) return;
  sequence.SetPaused(true);
  paused_requests_.fetch_add(1, std::memory_order_relaxed);
  live.gives_up_at = now_ + options_.pause_grace;
  pauses_.emplace(live.gives_up_at, id);
}

void Engine::Resume(LiveRequest* live) {
  Sequence& sequence = *live->sequence;
  if (!sequence.paused()) return;
  sequence.SetPaused(false);
  live->resumed = true;
  paused_requests_.fetch_sub(1, std::memory_order_relaxed);
  pauses_.erase({live->gives_up_at, sequence.request().id});
  if (scheduler_.BringBack(sequence.id())) inbox_.OnSetAside(sequence.request(), false);
}

void Engine::SetAsidePaused() {
  // A drain waits for nobody who does not read.
  if (paused_requests_.load(std::memory_order_relaxed) > 0 && !accepting()) {
    for (const Sequence* sequence : scheduler_.Live()) Resume(&live_.at(sequence->request().id));
  }
  std::vector<RequestId> arriving;
  while (!pauses_.empty() && pauses_.begin()->first <= now_) {
    const RequestId id = pauses_.begin()->second;
    pauses_.erase(pauses_.begin());
    LiveRequest& live = live_.at(id);
    const Sequence& sequence = *live.sequence;
    const bool runs = sequence.status() == RequestStatus::kRunning;
    if (runs && sequence.preemptions() >= options_.max_preemptions) {
      Resume(&live);
    } else if (scheduler_.SetAside(sequence.id(), last_launched_)) {
      CountPreempted();
      inbox_.OnSetAside(sequence.request(), true);
    } else {
      arriving.push_back(id);
    }
  }
  for (const RequestId id : arriving) pauses_.emplace(live_.at(id).gives_up_at, id);
}

}  // namespace quire
