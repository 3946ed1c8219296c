#include "server/rpc/start_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>

#include "absl/strings/str_cat.h"

namespace quire::server {
namespace {

constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kMinPingIntervalMs = 30'000;
// Reflection is the only synchronous service: each of its streams holds a thread.
constexpr int kMaxSyncThreads = 32;
// What calls other than Generate get to end by themselves.
constexpr std::chrono::milliseconds kShutdownGrace(500);

void SetArguments(const ServerConfig& config, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(config.max_message_bytes);
  // gRPC compares a message's size with the limit after inflating it: a small message could take
  // any amount of memory. So compressed messages are refused.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // Otherwise a second server on the same port starts and takes half of the connections.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, config.max_connection_streams);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kMinPingIntervalMs);
  grpc::ResourceQuota quota("quire");
  quota.SetMaxThreads(kMaxSyncThreads);
  builder->SetResourceQuota(quota);
}

}  // namespace

absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(const ServerConfig& config,
                                                          const char* flag, grpc::Service* service,
                                                          ListenAddress* address) {
  grpc::EnableDefaultHealthCheckService(true);
  if (config.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetArguments(config, &builder);
  const std::string wanted = address->ToString();
  builder.AddListeningPort(wanted, grpc::InsecureServerCredentials(), &address->port);
  builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || address->port == 0) {
    return absl::UnavailableError(
        absl::StrCat(flag, ": cannot listen on ", wanted,
                     "; is another program using the port, and is the address this machine's?"));
  }
  return server;
}

void ShutDown(grpc::Server* server) {
  server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
}

}  // namespace quire::server
