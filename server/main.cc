#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/engine/model_engine.h"
#include "server/auth/tenant_directory.h"
#include "server/auth/tenant_file.h"
#include "server/cli/tenant_table.h"
#include "server/config.h"
#include "server/exposure.h"
#include "server/file_limit.h"
#include "server/heap_trim.h"
#include "server/lifecycle.h"
#include "server/log/logger.h"
#include "server/log/request_log.h"
#include "server/metrics/certificate_metrics.h"
#include "server/metrics/engine_collector.h"
#include "server/metrics/exporter.h"
#include "server/metrics/grpc_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/output_dispatcher.h"
#include "server/periodic_task.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/inference_service.h"
#include "server/rpc/library_logs.h"
#include "server/rpc/open_inference_service.h"
#include "server/rpc/vllm_engine_service.h"
#include "server/self_watch.h"
#include "server/server_signals.h"
#include "server/stall_watch.h"
#include "server/tls_files.h"

namespace quire::server {
namespace {

// How long before its end a certificate is complained about.
constexpr absl::Duration kCertificateWarning = absl::Hours(14 * 24);
// How often memory that was freed is given back.
constexpr Duration kHeapTrimPeriod = std::chrono::seconds(10);

// Where the server can be reached, in the order in which they listen. They end the other way round,
// but for the server, which a drain has ended by then: the admin service says how that goes.
struct Listeners {
  std::unique_ptr<Exporter> exporter;  // from before the model is loaded
  std::unique_ptr<GrpcServer> admin;
  std::unique_ptr<GrpcServer> server;
  std::unique_ptr<GrpcServer> health;

  std::vector<GrpcServer*> WithHealth() const {
    std::vector<GrpcServer*> servers;
    for (const auto* listener : {&admin, &server, &health}) {
      if (*listener != nullptr) servers.push_back(listener->get());
    }
    return servers;
  }
};

void Log(const std::string& line) { ProcessLog().Info(line); }
void LogError(const std::string& line) { ProcessLog().Log(LogLevel::kError, line); }

// Reports the loading of weights once a second: nothing for a small model, a sign of life for a
// large one.
class LoadProgress {
 public:
  void operator()(int64_t done, int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (now - reported_ < std::chrono::seconds(1) || total <= 0) return;
    reported_ = now;
    Log(absl::StrCat("loading weights: ", done * 100 / total, " % of ", total >> 20, " MiB"));
  }

 private:
  std::chrono::steady_clock::time_point reported_ = std::chrono::steady_clock::now();
};

absl::StatusOr<std::unique_ptr<ModelEngine>> LoadModel(const ServerConfig& config,
                                                       ServerSignals* signals, OutputSink* sink,
                                                       const Clock* clock) {
  ModelEngineOptions options;
  options.model_dir = config.model_dir;
  options.model_name = config.model_name;
  options.device = config.device;
  options.threads = config.threads;
  options.cpu_tier = config.cpu_tier;
  options.batch_invariant = config.batch_invariant;
  options.kv_memory_bytes = config.kv_memory_bytes;
  options.gpu_memory_fraction = config.gpu_memory_fraction;
  options.swap_memory_bytes = config.swap_memory_bytes;
  options.block_tokens = config.block_tokens;
  options.prefix_cache = config.prefix_cache;
  options.compute_dtype = config.compute_dtype;
  options.weight_format = config.weight_format;
  options.kv_dtype = config.kv_dtype;
  options.engine = config.engine;
  options.progress = LoadProgress();
  options.on_device_failure = [signals] { signals->End(ServerEvent::kDeviceFailure); };
  return ModelEngine::Create(options, sink, clock);
}

MetricLabels DescribeForMetrics(const ModelEngine& model) {
  const ModelConfig& config = model.config();
  MetricLabels labels;
  labels.model = config.name;
  labels.device = model.device_description();
  labels.dtype = kernels::DTypeName(model.kv_layouts()[0].dtype);
  labels.layers = std::to_string(config.num_layers);
  labels.kv_heads = std::to_string(config.kv_groups.front());
  for (int32_t groups : config.kv_groups) {
    if (groups != config.kv_groups.front()) labels.kv_heads = "varies";
  }
  labels.head_dim = std::to_string(config.head_dim);
  labels.version = QUIRE_VERSION;
  labels.commit = QUIRE_COMMIT;
  return labels;
}

// Written under another name first, so that whoever waits for the file finds it whole.
absl::Status WritePortFile(const std::string& path, const Listeners& listeners) {
  if (path.empty()) return absl::OkStatus();
  const std::string unfinished = path + ".tmp";
  {
    std::ofstream file(unfinished, std::ios::trunc);
    const auto write = [&file](const char* name, const auto& listener) {
      if (listener != nullptr) file << name << "=" << listener->address().ToString() << "\n";
    };
    write("listen", listeners.server);
    write("metrics", listeners.exporter);
    write("admin", listeners.admin);
    write("health", listeners.health);
    if (!file.flush()) return absl::UnavailableError("--port-file: cannot write " + unfinished);
  }
  std::error_code error;
  std::filesystem::rename(unfinished, path, error);
  if (error) return absl::UnavailableError("--port-file: " + path + ": " + error.message());
  return absl::OkStatus();
}

void LogAddresses(const ServerConfig& config, const Listeners& listeners) {
  const char* const tls = config.tls.empty() ? "" : "with TLS ";
  if (listeners.exporter != nullptr) {
    Log(absl::StrCat("metrics on http://", listeners.exporter->address().ToString(), "/metrics"));
  }
  if (listeners.health != nullptr) {
    Log(absl::StrCat("health on ", listeners.health->address().ToString()));
  }
  if (listeners.admin != nullptr) {
    Log(absl::StrCat("admin ", tls, "on ", listeners.admin->address().ToString()));
  }
  Log(absl::StrCat("listening ", tls, "on ", listeners.server->address().ToString()));
}

// Who looks after certificates should hear of it before clients do.
absl::Status CheckCertificate(const ServerConfig& config) {
  if (config.tls.empty()) return absl::OkStatus();
  QUIRE_ASSIGN_OR_RETURN(const absl::Time end, CheckTlsFiles(config.tls));
  const absl::Duration left = end - absl::Now();
  if (left < kCertificateWarning) {
    ProcessLog().Log(LogLevel::kWarning,
                     absl::StrCat("--tls-cert: the certificate ",
                                  left < absl::ZeroDuration() ? "has ended" : "ends", " at ",
                                  absl::FormatTime(end, absl::UTCTimeZone())));
  }
  return absl::OkStatus();
}

// The tenants of --config; without one, what there is then. Checked together with the listeners.
absl::StatusOr<TenantsConfig> LoadTenants(const ServerConfig& config) {
  TenantsConfig tenants;
  if (!config.config_file.empty()) {
    absl::StatusOr<TenantsConfig> read = LoadTenantFile(config.config_file);
    if (!read.ok()) {
      return absl::Status(read.status().code(),
                          absl::StrCat("--config: ", read.status().message()));
    }
    tenants = *std::move(read);
  }
  QUIRE_RETURN_IF_ERROR(CheckExposure(config, tenants));
  return tenants;
}

// As far as that can be told without the model; the engine does so with it.
absl::Status CheckReserves(const ServerConfig& config, TenantTable tenants) {
  if (config.kv_memory_bytes == 0) return absl::OkStatus();
  for (TenantPolicy& tenant : tenants) {
    if (!config.prefix_cache) tenant.prefix_floor_bytes = 0;
  }
  const absl::Status status = quire::CheckReserves(tenants, config.kv_memory_bytes);
  return absl::Status(status.code(), absl::StrCat("--config: ", status.message()));
}

absl::Status CheckConfig(const ServerConfig& config) {
  QUIRE_RETURN_IF_ERROR(CheckCertificate(config));
  QUIRE_ASSIGN_OR_RETURN(const TenantsConfig tenants, LoadTenants(config));
  const TenantRoster roster = TenantDirectory().MakeRoster(tenants);
  QUIRE_RETURN_IF_ERROR(CheckReserves(config, roster.Table()));
  std::vector<v1::TenantConfig> rows;
  for (const TenantRoster::Entry& entry : roster.entries) {
    if (entry.configured) rows.push_back(EncodeTenant(entry.settings));
  }
  cli::PrintTenants(rows, std::cout);
  return absl::OkStatus();
}

absl::StatusOr<TenantChanges> ReadAgain(const ServerConfig& config, Engine* engine,
                                        TenantDirectory* directory) {
  QUIRE_ASSIGN_OR_RETURN(const TenantsConfig tenants, LoadTenants(config));
  return ApplyTenants(tenants, engine, directory);
}

void Reload(const ServerConfig& config, Engine* engine, TenantDirectory* directory) {
  const absl::StatusOr<TenantChanges> changes = ReadAgain(config, engine, directory);
  if (!changes.ok()) {
    LogError(absl::StrCat("not reloaded, all stays as it was: ", changes.status().message()));
    return;
  }
  Log(absl::StrCat("reloaded ", config.config_file, ": tenants added: ", changes->added,
                   ", removed: ", changes->removed, ", changed: ", changes->changed));
}

void LogModel(ModelEngine& model, const ServerConfig& config, const ChatFormat& chat) {
  if (!model.why_no_gpu().empty()) Log(absl::StrCat("no GPU is used: ", model.why_no_gpu()));
  Log(absl::StrCat("serving ", model.config().name, " on ", model.device_description()));
  Log(absl::StrCat(
      "KV cache in ", kernels::DTypeName(model.kv_layouts()[0].dtype), ", prefix cache ",
      model.has_prefix_cache() ? "on" : "off",
      config.prefix_cache && !model.has_prefix_cache() ? ": not for models with window layers" : "",
      model.swap_memory_bytes() > 0
          ? absl::StrCat(", swapped to ", model.swap_memory_bytes() >> 20, " MiB of host memory")
          : ""));
  Log(absl::StrCat("chat format: ",
                   chat.family.has_value() ? std::string(ChatFamilyName(*chat.family)) : "none"));
}

// Those whose calls are counted by method.
std::vector<std::string> CountedServices(const ServerConfig& config) {
  std::vector<std::string> names = {v1::InferenceService::service_full_name(),
                                    inference::GRPCInferenceService::service_full_name(),
                                    vllm::grpc::engine::VllmEngine::service_full_name(),
                                    "grpc.health.v1.Health"};
  if (config.admin_listen.has_value()) names.push_back(v1::AdminService::service_full_name());
  return names;
}

std::vector<GrpcServer::Service> MakeServices(const ServerConfig& config,
                                              const CallServices& services) {
  std::vector<GrpcServer::Service> made;
  made.push_back(
      {v1::InferenceService::service_full_name(), std::make_unique<InferenceService>(services)});
  made.push_back({inference::GRPCInferenceService::service_full_name(),
                  std::make_unique<OpenInferenceService>(
                      services, static_cast<size_t>(config.connections.max_streams))});
  made.push_back({vllm::grpc::engine::VllmEngine::service_full_name(),
                  std::make_unique<VllmEngineService>(services, config.model_dir)});
  return made;
}

// Health checks come last: who gets an answer there finds the server listening.
absl::Status Listen(const ServerConfig& config, const AdminServices& admin_services,
                    const CallServices& services, GrpcMetrics* calls, Listeners* listeners) {
  constexpr int32_t kFew = ServerConfig::kMaxSideConnections;
  if (config.admin_listen.has_value()) {
    std::vector<GrpcServer::Service> admin;
    admin.push_back(
        {v1::AdminService::service_full_name(), std::make_unique<AdminService>(admin_services)});
    QUIRE_ASSIGN_OR_RETURN(listeners->admin, GrpcServer::Listen(config,
                                                                {.flag = "--admin-listen",
                                                                 .address = *config.admin_listen,
                                                                 .max_connections = kFew,
                                                                 .metrics = calls},
                                                                std::move(admin)));
  }
  QUIRE_ASSIGN_OR_RETURN(listeners->server,
                         GrpcServer::Listen(config,
                                            {.flag = "--listen",
                                             .address = config.listen,
                                             .max_connections = config.connections.max_connections,
                                             .counters = services.counters,
                                             .metrics = calls},
                                            MakeServices(config, services)));
  if (!config.health_listen.has_value()) return absl::OkStatus();
  const GrpcServer::Place place = {.flag = "--health-listen",
                                   .address = *config.health_listen,
                                   .plaintext = true,
                                   .max_connections = kFew,
                                   .metrics = calls};
  std::vector<GrpcServer::Service> names;
  for (const std::string& name : listeners->server->ServiceNames()) names.push_back({name});
  QUIRE_ASSIGN_OR_RETURN(listeners->health, GrpcServer::Listen(config, place, std::move(names)));
  return absl::OkStatus();
}

void AddCollectors(const ServerConfig& config, ModelEngine& model, const CallServices& services,
                   std::shared_ptr<GrpcMetrics> calls, Exporter* exporter) {
  Engine& engine = model.engine();
  EngineCollector::Sources sources = {.stats = [&engine] { return engine.Stats(); },
                                      .tenants = [&engine] { return engine.Tenants(); },
                                      .counters = services.counters,
                                      .streams = services.streams,
                                      .log = &ProcessLog(),
                                      .calls = calls.get(),
                                      .clock = services.clock};
  exporter->Add(std::make_shared<EngineCollector>(DescribeForMetrics(model), std::move(sources),
                                                  config.metrics_compat == "vllm"));
  exporter->Add(std::move(calls));
  exporter->Add(std::make_shared<ProcessMetrics>());
  exporter->Add(std::make_shared<CertificateMetrics>(model.config().name, config.tls));
}

// Builds everything in order of dependence, serves until told to end, drains. Members of a later
// line use those of earlier ones, so they are destroyed the other way round.
absl::StatusOr<ServerEvent> Serve(const ServerConfig& config) {
  QUIRE_RETURN_IF_ERROR(RaiseFileLimit(config.OpenFiles()));
  QUIRE_RETURN_IF_ERROR(CheckCertificate(config));
  ServerSignals signals(/*reloads=*/!config.config_file.empty());
  QUIRE_ASSIGN_OR_RETURN(const TenantsConfig tenants, LoadTenants(config));
  SteadyClock clock;
  ServerCounters counters;
  const RequestLog request_log(&ProcessLog(), config.log_requests);
  TenantDirectory directory;
  LiveStreams streams(config.MaxLiveStreams());
  const StallWatch stall_watch(&streams, &clock, config.write_stall_timeout,
                               &counters.stalled_readers);
  HeapTrim heap_trim;
  const PeriodicTask heap_trims(kHeapTrimPeriod, [&heap_trim] { heap_trim.Look(); });
  OutputDispatcher dispatcher(config.output_threads);
  std::unique_ptr<ModelEngine> model;
  const auto calls = std::make_shared<GrpcMetrics>(CountedServices(config));
  Listeners listeners;
  if (config.metrics_listen.has_value()) {
    QUIRE_ASSIGN_OR_RETURN(listeners.exporter, Exporter::Listen(*config.metrics_listen));
  }
  QUIRE_ASSIGN_OR_RETURN(model, LoadModel(config, &signals, &dispatcher, &clock));
  QUIRE_RETURN_IF_ERROR(ApplyTenants(tenants, &model->engine(), &directory).status());
  QUIRE_ASSIGN_OR_RETURN(const ChatFormat chat,
                         LoadChatFormat(config.model_dir, config.chat_family, model->tokenizer()));
  const RequestCodec codec(&model->config(), &model->tokenizer(),
                           model->options().max_context_tokens, config.requests, chat);
  signals.Arm([&loop = model->loop()] { loop.EndGrace(); });
  const absl::Cleanup disarm = [&signals] { signals.Disarm(); };  // before the loop goes
  const AdminServices admin_services = {.engine = &model->engine(),
                                        .model = model.get(),
                                        .tenants = &directory,
                                        .signals = &signals,
                                        .log = &request_log};
  const CallServices services = {.model = model.get(),
                                 .dispatcher = &dispatcher,
                                 .streams = &streams,
                                 .counters = &counters,
                                 .log = &request_log,
                                 .codec = &codec,
                                 .tenants = &directory,
                                 .clock = &clock,
                                 .stream_limits = config.stream_limits};
  if (listeners.exporter != nullptr) {
    AddCollectors(config, *model, services, calls, listeners.exporter.get());
  }
  QUIRE_RETURN_IF_ERROR(Listen(config, admin_services, services, calls.get(), &listeners));
  const absl::Status ready = WritePortFile(config.port_file, listeners);
  if (!ready.ok()) {
    Drain(listeners.server.get(), model.get(), &streams, Duration::zero());
    return ready;
  }
  SelfWatch watch(config, {.engine = &model->engine(),
                           .health = listeners.WithHealth(),
                           .probed = listeners.server.get(),
                           .counters = &counters});
  LogModel(*model, config, chat);
  LogAddresses(config, listeners);

  ServerEvent event = signals.Await();
  for (; event == ServerEvent::kReload; event = signals.Await()) {
    Reload(config, &model->engine(), &directory);
  }
  Log("draining");
  watch.OnDrain();
  model->engine().StopAccepting();  // who has seen NOT_SERVING finds nothing accepted any more
  if (listeners.health != nullptr) listeners.health->SetNotServing();
  Drain(listeners.server.get(), model.get(), &streams, config.drain_timeout);
  return event;
}

int Main(int argc, const char* const* argv) {
  std::signal(SIGPIPE, SIG_IGN);  // whoever reads our stderr may go away
  // Debian's absl looks for lock cycles at each of gRPC's locks, as in a debug build.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  absl::StatusOr<std::optional<ServerConfig>> config = ParseCommandLine(argc, argv, std::cout);
  if (!config.ok()) {
    LogError(std::string(config.status().message()));
    return 1;
  }
  if (!config->has_value()) return 0;
  SetUpProcessLog((*config)->log);
  RouteLibraryLogs((*config)->log.format);
  if ((*config)->check_config) {
    const absl::Status status = CheckConfig(**config);
    if (!status.ok()) LogError(std::string(status.message()));
    return status.ok() ? 0 : 1;
  }
  const absl::StatusOr<ServerEvent> reason = Serve(**config);
  if (!reason.ok()) {
    LogError(std::string(reason.status().message()));
    return 1;
  }
  if (*reason == ServerEvent::kDeviceFailure) {
    LogError("ended because the device failed");
    return 1;
  }
  Log("ended");
  return 0;
}

}  // namespace
}  // namespace quire::server

int main(int argc, char** argv) { return quire::server::Main(argc, argv); }
