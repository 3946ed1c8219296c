#include "core/engine/engine_options.h"

#include "absl/strings/str_cat.h"

namespace quire {

absl::Status EngineOptions::Validate() const {
  const auto require = [](bool ok, absl::string_view what, int64_t value) {
    return ok ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrCat(what, ", not ", value));
  };
  absl::Status status;
  status.Update(require(max_running_requests >= 1 && max_running_requests <= 65536,
                        "max_running_requests must be from 1 to 65536", max_running_requests));
  status.Update(require(max_step_tokens >= max_running_requests && max_step_tokens <= 1 << 20,
                        "max_step_tokens must be at least max_running_requests and at most 1048576",
                        max_step_tokens));
  status.Update(require(max_prefill_beside_decode >= 0 && max_prefill_beside_decode <= 1 << 20,
                        "max_prefill_beside_decode must be from 0 to 1048576",
                        max_prefill_beside_decode));
  status.Update(require(max_scored_tokens >= 1 && max_scored_tokens <= 1 << 20,
                        "max_scored_tokens must be from 1 to 1048576", max_scored_tokens));
  status.Update(require(max_queued_requests >= 1, "max_queued_requests must be at least 1",
                        max_queued_requests));
  status.Update(
      require(max_queued_tokens >= 1, "max_queued_tokens must be at least 1", max_queued_tokens));
  status.Update(
      require(max_preemptions >= 0, "max_preemptions must be at least 0", max_preemptions));
  status.Update(require(ageing >= Duration::zero() && ageing <= std::chrono::hours(24),
                        "the ageing of priorities must be from 0 to 24 hours", ageing.count()));
  status.Update(require(pause_grace >= Duration::zero() && pause_grace <= std::chrono::hours(24),
                        "the grace of paused requests must be from 0 to 24 hours",
                        pause_grace.count()));
  status.Update(require(max_prefix_wait_steps >= 0, "max_prefix_wait_steps must be at least 0",
                        max_prefix_wait_steps));
  status.Update(require(max_context_tokens >= 2, "max_context_tokens must be at least 2",
                        max_context_tokens));
  return status;
}

}  // namespace quire
