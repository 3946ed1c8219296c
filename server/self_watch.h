#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/engine/engine.h"
#include "server/config.h"
#include "server/liveness/liveness_monitor.h"
#include "server/liveness/self_probe.h"
#include "server/metrics/server_counters.h"
#include "server/rpc/grpc_server.h"

namespace quire::server {

// Tells whoever asks for the health of `liveness` whether this process gets anywhere, and ends it
// where only a restart helps: the engine thread hangs, or gRPC takes no new connections. It ends it
// without any cleaning up, which would wait for what hangs.
class SelfWatch {
 public:
  // None is owned; all outlive the watch.
  struct Watched {
    const Engine* engine = nullptr;
    std::vector<GrpcServer*> health;     // everywhere health is served
    const GrpcServer* probed = nullptr;  // where clients connect to
    ServerCounters* counters = nullptr;
  };
  SelfWatch(const ServerConfig& config, Watched watched);

  // From now on it does not matter whether connections are taken: the server ends by itself.
  void OnDrain() { draining_ = true; }

 private:
  LivenessFacts Look() const;
  void Report(const LivenessReport& report) const;
  void LogNotLive(const LivenessReport& report) const;

  const Watched watched_;
  const Duration exit_after_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<const SelfProbe> probe_;          // null: off
  std::unique_ptr<const LivenessMonitor> monitor_;  // last: it uses all of the above
};

}  // namespace quire::server
