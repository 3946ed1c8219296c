#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/engine/engine_options.h"
#include "kernels/api/types.h"
#include "server/connection_limits.h"
#include "server/listen_address.h"
#include "server/log/logger.h"
#include "server/log/request_log.h"
#include "server/request_limits.h"
#include "server/stream_limits.h"
#include "server/tls_files.h"

namespace quire::server {

// Everything that can be set, validated as a whole before anything is built from it. Plain data.
struct ServerConfig {
  // Model and device
  std::string model_dir;
  std::string model_name;   // empty: the directory's name
  std::string chat_family;  // empty: the one that the model's files name
  std::string device = "auto";
  bool batch_invariant = false;  // on a GPU; the CPU always is
  bool prefix_cache = true;
  int32_t threads = 0;                          // 0: all cores that the process may use
  std::string cpu_tier = "auto";                // the CPU's instruction set
  std::optional<kernels::DType> compute_dtype;  // default: from the checkpoint
  kernels::WeightFormat weight_format = kernels::WeightFormat::kDense;
  std::optional<kernels::DType> kv_dtype;    // default: what is computed in
  int64_t kv_memory_bytes = 0;               // 0: chosen from the free memory
  double gpu_memory_fraction = 0.9;          // of what the model leaves, for the KV cache
  std::optional<int64_t> swap_memory_bytes;  // default: see SetUpSwap
  int32_t block_tokens = 16;

  // Bounds
  EngineOptions engine;
  RequestLimits requests;
  ConnectionLimits connections;
  StreamLimits stream_limits{.bytes = 256 << 10, .tokens = 16};
  Duration write_stall_timeout = std::chrono::seconds(30);  // zero: none
  int32_t output_threads = 1;

  // Network
  ListenAddress listen{"127.0.0.1", 50051};
  std::optional<ListenAddress> metrics_listen = ListenAddress{"127.0.0.1", 9464};
  std::string metrics_compat = "none";  // or "vllm"
  std::optional<ListenAddress> admin_listen;
  std::string port_file;  // empty: none
  std::optional<ListenAddress> health_listen;
  TlsFiles tls;  // of listen and admin_listen
  int32_t tls_reload_seconds = 10;
  bool insecure = false;
  std::optional<bool> reflection;  // default: on loopback alone
  Duration drain_timeout = std::chrono::seconds(30);

  // Liveness and logs
  Duration watchdog_timeout = std::chrono::minutes(10);     // zero: off
  Duration self_probe_interval = std::chrono::seconds(10);  // zero: off
  Duration liveness_exit_after = std::chrono::seconds(30);  // zero: never
  LogOptions log;
  LogRequests log_requests = LogRequests::kErrors;

  // Tenants
  std::string config_file;    // empty: none; who reads it: auth/tenant_file.h
  bool check_config = false;  // say what is configured, and end

  // Streams that may be open at a time: what the engine can hold, and as many that are ending.
  size_t MaxLiveStreams() const;
  // Connections to admin_listen and to health_listen, in the place of max_connections: few, and
  // there however many clients there are.
  static constexpr int32_t kMaxSideConnections = 64;
  // Files that may be open at a time, connections among them.
  int64_t OpenFiles() const;
  // Whether a listener there describes its API to clients.
  bool ReflectsOn(const ListenAddress& address) const {
    return reflection.value_or(address.IsLoopback());
  }
};

// Reads the command line. nullopt: help or the version was asked for and has been written to
// `out`. InvalidArgument names the flag, its value and what it must be.
absl::StatusOr<std::optional<ServerConfig>> ParseCommandLine(int argc, const char* const* argv,
                                                             std::ostream& out);

}  // namespace quire::server
