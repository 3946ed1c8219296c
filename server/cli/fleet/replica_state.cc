#include "server/cli/fleet/replica_state.h"

namespace quire::cli {

void AgedState::Update(TimePoint at, const ReplicaState& state) {
  // What the router asked for before is the state until now.
  Look(at - Duration(1));
  current_ = state;
}

void AgedState::AddTokens(TimePoint at, size_t tenant, int64_t tokens) {
  Look(at - Duration(1));
  current_.load += tokens;
  current_.tenants[tenant].tokens += tokens;
}

void AgedState::Look(TimePoint now) {
  if (period_ == Duration::zero() || now < phase_) return;
  const int64_t times = (now - phase_) / period_ + 1;
  if (times == asked_) return;
  asked_ = times;
  seen_ = current_;
}

}  // namespace quire::cli
