#pragma once

#include <cstdint>
#include <optional>

#include "core/base/clock.h"
#include "core/engine/engine_stats.h"

namespace quire::server {

struct LivenessLimits {
  Duration step_timeout{};    // of live work without a completed step; zero: any time
  int32_t failed_probes = 0;  // in a row; zero: any number
  Duration exit_after{};      // of not being live; zero: never
};

// What a look finds.
struct LivenessFacts {
  EngineProgress engine = {};
  int32_t failed_probes = 0;  // the last so many
};

enum class LivenessState : uint8_t {
  kLive,
  kNotLive,
  kOver,  // not live for exit_after: only a restart helps
};

// Decides whether the process gets anywhere: the engine completes steps while there is work for it,
// and new connections are taken. How much work there is has no part in it. Pure; one thread.
class LivenessJudge {
 public:
  // Of the time between two looks no more than `longest_look` counts: where the whole process stood
  // still meanwhile, the engine could not work either.
  LivenessJudge(const LivenessLimits& limits, Duration longest_look)
      : limits_(limits), longest_look_(longest_look) {}

  LivenessState Look(TimePoint now, const LivenessFacts& facts);

  // As of the last look: how long there has been work and no step was completed.
  Duration stalled() const { return stalled_; }
  // Whether that is too long.
  bool stuck() const {
    return limits_.step_timeout > Duration::zero() && stalled_ >= limits_.step_timeout;
  }

 private:
  const LivenessLimits limits_;
  const Duration longest_look_;
  std::optional<TimePoint> last_look_;
  uint64_t steps_ = 0;
  Duration stalled_{};
  std::optional<Duration> not_live_;  // for how long
};

}  // namespace quire::server
