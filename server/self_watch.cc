#include "server/self_watch.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/liveness/listener_probe.h"
#include "server/log/logger.h"

namespace quire::server {
namespace {

constexpr int32_t kMaxFailedProbes = 3;
// A server that is busy takes its time.
constexpr Duration kProbeTimeout = std::chrono::seconds(10);

// Often enough for short limits, and no burden otherwise.
Duration LookInterval(const LivenessLimits& limits) {
  Duration shortest = std::chrono::seconds(8);
  for (const Duration limit : {limits.step_timeout, limits.exit_after}) {
    if (limit > Duration::zero()) shortest = std::min(shortest, limit);
  }
  return std::max<Duration>(shortest / 8, std::chrono::milliseconds(1));
}

std::function<absl::Status()> MakeProbe(const ServerConfig& config, const ListenAddress& address,
                                        ServerCounters* counters) {
  return [probe = ListenerProbe(address, /*tls=*/!config.tls.empty()), counters] {
    absl::Status status = probe.Run(kProbeTimeout);
    ++(status.ok() ? counters->self_probes_answered : counters->self_probes_failed);
    return status;
  };
}

}  // namespace

SelfWatch::SelfWatch(const ServerConfig& config, Watched watched)
    : watched_(std::move(watched)), exit_after_(config.liveness_exit_after) {
  if (config.self_probe_interval > Duration::zero()) {
    probe_ = std::make_unique<SelfProbe>(
        MakeProbe(config, watched_.probed->address(), watched_.counters),
        config.self_probe_interval);
  }
  const LivenessLimits limits = {.step_timeout = config.watchdog_timeout,
                                 .failed_probes = kMaxFailedProbes,
                                 .exit_after = exit_after_};
  monitor_ = std::make_unique<LivenessMonitor>(
      limits, LookInterval(limits), [this] { return Look(); },
      [this](const LivenessReport& report) { Report(report); });
}

LivenessFacts SelfWatch::Look() const {
  const bool probed = probe_ != nullptr && !draining_;
  return {.engine = watched_.engine->Progress(),
          .failed_probes = probed ? probe_->result().failed : 0};
}

void SelfWatch::Report(const LivenessReport& report) const {
  watched_.counters->engine_stalled_seconds = ToSeconds(report.stalled);
  if (!report.changed) return;
  const bool live = report.state == LivenessState::kLive;
  watched_.counters->live = live;
  for (GrpcServer* const server : watched_.health) server->SetLive(live);
  if (live) {
    ProcessLog().Info("liveness is SERVING again");
  } else if (report.state == LivenessState::kNotLive) {
    LogNotLive(report);
  } else {
    ProcessLog().Log(LogLevel::kError, "ending for a restart, as liveness did not come back",
                     {{"seconds", ToSeconds(exit_after_)}});
    std::_Exit(1);
  }
}

void SelfWatch::LogNotLive(const LivenessReport& report) const {
  if (report.stuck) {
    ProcessLog().Log(LogLevel::kError, "liveness is NOT_SERVING: the engine is stuck",
                     {{"live_requests", report.facts.engine.live_requests},
                      {"seconds_since_step", ToSeconds(report.stalled)}});
    return;
  }
  ProcessLog().Log(LogLevel::kError, "liveness is NOT_SERVING: no new connections are taken",
                   {{"address", watched_.probed->address().ToString()},
                    {"failed_probes", int64_t{report.facts.failed_probes}},
                    {"last_error", probe_->result().error}});
}

}  // namespace quire::server
