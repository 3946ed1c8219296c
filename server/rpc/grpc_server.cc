#include "server/rpc/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>
#include <vector>

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

// The library of reflection adds it to every server of a process that is linked with it.
class WithoutReflection final : public grpc::ServerBuilderOption {
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return dynamic_cast<grpc::reflection::ProtoServerReflectionPlugin*>(plugin.get()) != nullptr;
    });
  }
};

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

std::shared_ptr<grpc::ServerCredentials> Credentials(const ServerConfig& config,
                                                     const GrpcServer::Place& place) {
  const TlsFiles& tls = config.tls;
  if (tls.empty() || place.plaintext) return grpc::InsecureServerCredentials();
  namespace tls_api = grpc::experimental;
  tls_api::TlsServerCredentialsOptions options(
      std::make_shared<tls_api::FileWatcherCertificateProvider>(
          tls.key, tls.certificate, tls.client_roots,
          static_cast<unsigned>(config.tls_reload_seconds)));
  options.watch_identity_key_cert_pairs();
  if (!tls.client_roots.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(tls.require_client_certificate
                                      ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                      : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls_api::TlsServerCredentials(options);
}

}  // namespace

GrpcServer::GrpcServer(ListenAddress address, std::string service_name,
                       std::unique_ptr<grpc::Service> service)
    : address_(std::move(address)),
      service_name_(std::move(service_name)),
      service_(std::move(service)) {}

GrpcServer::~GrpcServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Listen(
    const ServerConfig& config, Place place, std::string service_name,
    std::unique_ptr<grpc::Service> service) {
  auto result = std::unique_ptr<GrpcServer>(
      new GrpcServer(place.address, std::move(service_name), std::move(service)));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetArguments(config, &builder);
  if (!config.ReflectsOn(place.address)) builder.SetOption(std::make_unique<WithoutReflection>());
  const std::string wanted = place.address.ToString();
  builder.AddListeningPort(wanted, Credentials(config, place), &result->address_.port);
  if (result->service_ != nullptr) builder.RegisterService(result->service_.get());
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr || result->address_.port == 0) {
    return absl::UnavailableError(
        absl::StrCat(place.flag, ": cannot listen on ", wanted,
                     "; is another program using the port, and is the address this machine's?"));
  }
  result->server_->GetHealthCheckService()->SetServingStatus(result->service_name_, true);
  return result;
}

void GrpcServer::SetNotServing() {
  server_->GetHealthCheckService()->SetServingStatus(service_name_, false);
}

void GrpcServer::Shutdown() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
}

}  // namespace quire::server
