#include "server/liveness/liveness_judge.h"

#include <algorithm>

namespace quire::server {

LivenessState LivenessJudge::Look(TimePoint now, const LivenessFacts& facts) {
  const EngineProgress& engine = facts.engine;
  const Duration passed = std::min(now - last_look_.value_or(now), longest_look_);
  last_look_ = now;
  const bool progress =
      engine.live_requests == 0 || engine.steps != steps_ || now < engine.rests_until;
  steps_ = engine.steps;
  stalled_ = progress ? Duration::zero() : stalled_ + passed;
  const bool deaf = limits_.failed_probes > 0 && facts.failed_probes >= limits_.failed_probes;
  if (!stuck() && !deaf) {
    not_live_.reset();
    return LivenessState::kLive;
  }
  not_live_ = not_live_.has_value() ? *not_live_ + passed : Duration::zero();
  const bool over = limits_.exit_after > Duration::zero() && *not_live_ >= limits_.exit_after;
  return over ? LivenessState::kOver : LivenessState::kNotLive;
}

}  // namespace quire::server
