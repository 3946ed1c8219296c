#include "server/rpc/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <climits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/call_counter.h"

namespace quire::server {
namespace {

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

int Milliseconds(Duration time) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

// Zero is gRPC's infinity.
int MillisecondsOrNever(Duration time) {
  return time == Duration::zero() ? INT_MAX : Milliseconds(time);
}

void SetTimes(const ConnectionLimits& limits, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              Milliseconds(limits.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                              MillisecondsOrNever(limits.keepalive_time));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              Milliseconds(limits.keepalive_timeout));
  // Connections without calls hold a place too, and those with calls that wait send nothing.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(limits.min_ping_interval));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, MillisecondsOrNever(limits.max_age));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              MillisecondsOrNever(limits.age_grace));
}

void SetArguments(const ConnectionLimits& limits, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(limits.max_message_bytes);
  // gRPC compares a message's size with the limit after inflating it: a small message could take
  // any amount of memory. So compressed messages are refused.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.max_streams);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, limits.max_metadata_bytes);
  SetTimes(limits, builder);
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

GrpcServer::GrpcServer(std::vector<Service> services) : services_(std::move(services)) {}

GrpcServer::~GrpcServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Listen(const ServerConfig& config,
                                                               Place place,
                                                               std::vector<Service> services) {
  auto result = std::unique_ptr<GrpcServer>(new GrpcServer(std::move(services)));
  ConnectionAcceptor::Options options = {
      .max_connections = place.max_connections,
      .send_timeout = config.connections.keepalive_timeout,
  };
  if (place.counters != nullptr) {
    options.refused = &place.counters->refused_connections;
    options.failures = &place.counters->accept_failures;
  }
  auto acceptor = ConnectionAcceptor::Listen(place.address, options);
  if (!acceptor.ok()) {
    return absl::UnavailableError(
        absl::StrCat(place.flag, ": cannot listen on ", place.address.ToString(), " (",
                     acceptor.status().message(),
                     "); is another program using the port, and is the address this machine's?"));
  }
  result->acceptor_ = *std::move(acceptor);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetArguments(config.connections, &builder);
  if (!config.ReflectsOn(place.address)) builder.SetOption(std::make_unique<WithoutReflection>());
  result->connections_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      Credentials(config, place));
  if (place.metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> counters;
    counters.push_back(std::make_unique<CallCounterFactory>(place.metrics));
    builder.experimental().SetInterceptorCreators(std::move(counters));
  }
  for (const Service& served : result->services_) {
    if (served.service != nullptr) builder.RegisterService(served.service.get());
  }
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr) {
    return absl::InternalError(absl::StrCat(place.flag, ": gRPC does not start"));
  }
  result->SetServing(true);
  result->SetLive(true);
  result->StartAccepting();
  return result;
}

void GrpcServer::StartAccepting() {
  acceptor_->Start([this](int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    connections_->HandleNewConnection(&connection);
  });
}

std::vector<std::string> GrpcServer::ServiceNames() const {
  std::vector<std::string> names;
  for (const Service& served : services_) names.push_back(served.name);
  return names;
}

void GrpcServer::SetNotServing() { SetServing(false); }

void GrpcServer::SetServing(bool serving) {
  for (const Service& served : services_) {
    server_->GetHealthCheckService()->SetServingStatus(served.name, serving);
  }
}

void GrpcServer::SetLive(bool live) {
  server_->GetHealthCheckService()->SetServingStatus(kLivenessName, live);
}

void GrpcServer::CutConnections() {
  acceptor_->Stop();
  acceptor_->EndConnections();
}

void GrpcServer::Shutdown() {
  // It would lose a connection that comes after its end.
  if (acceptor_ != nullptr) acceptor_->Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
}

}  // namespace quire::server
