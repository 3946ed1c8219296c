#include "server/lifecycle.h"

#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/logger.h"

namespace quire::server {
namespace {

// How long who watches health is told before connections are cut.
constexpr Duration kNoticeTime = std::chrono::milliseconds(200);
// What clients get to take their last message, and gRPC to give up calls by force.
constexpr Duration kFlushTime = std::chrono::seconds(3);
constexpr Duration kAbortTime = std::chrono::seconds(10);

}  // namespace

absl::StatusOr<TenantChanges> ApplyTenants(const TenantsConfig& config, Engine* engine,
                                           TenantDirectory* directory) {
  TenantRoster roster = directory->MakeRoster(config);
  if (const absl::Status status = engine->SetTenants(roster.Table()); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat("--config: ", status.message()));
  }
  return directory->Install(std::move(roster));
}

void Drain(GrpcServer* server, ModelEngine* model, LiveStreams* streams, Duration grace) {
  server->SetNotServing();
  const TimePoint told_by = std::chrono::steady_clock::now() + kNoticeTime;
  model->loop().Drain(grace);
  if (!streams->AwaitEmpty(kFlushTime)) {
    ProcessLog().Log(LogLevel::kWarning, absl::StrCat("aborting ", streams->size(),
                                                      " streams whose clients do not read"));
    streams->AbortAll();
    if (!streams->AwaitEmpty(kAbortTime)) {
      // gRPC would wait for their reactors without limit.
      ProcessLog().Log(LogLevel::kError,
                       absl::StrCat(streams->size(), " streams do not end; giving up"));
      std::_Exit(1);
    }
  }
  std::this_thread::sleep_until(told_by);
  server->CutConnections();
  server->Shutdown();
}

}  // namespace quire::server
