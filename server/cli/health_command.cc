#include "server/cli/health_command.h"

#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <iostream>
#include <memory>

#include "absl/synchronization/notification.h"
#include "server/cli/server_connection.h"

namespace quire::cli {
namespace {

// grpc.health.v1.HealthCheckRequest has one string and HealthCheckResponse one enum, each in field
// 1: on the wire the same as these two messages, which every Protocol Buffers library has, while
// health.proto is not in every build.
using HealthRequest = google::protobuf::StringValue;
using HealthResponse = google::protobuf::Int32Value;

constexpr int kServing = 1;

struct Options {
  ServerOptions server{.timeout_seconds = 5};
  std::string service;
};

grpc::Status CheckHealth(const ServerConnection& connection, const std::string& service,
                         HealthResponse* response) {
  grpc::ClientContext context;
  connection.Prepare(&context);
  HealthRequest request;
  request.set_value(service);
  grpc::TemplatedGenericStub<HealthRequest, HealthResponse> stub(connection.channel());
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, response,
                 [&](grpc::Status s) {
                   status = std::move(s);
                   done.Notify();
                 });
  done.WaitForNotification();
  return status;
}

int Health(const Options& options) {
  HealthResponse response;
  const absl::StatusOr<ServerConnection> connection = ServerConnection::Open(options.server);
  if (!connection.ok()) return ReportError("quire health", connection.status());
  const absl::Status status =
      connection->Explain(CheckHealth(*connection, options.service, &response));
  if (!status.ok()) return ReportError("quire health", status);
  std::cout << (response.value() == kServing ? "SERVING" : "NOT_SERVING") << '\n';
  return response.value() == kServing ? kExitOk : kExitError;
}

}  // namespace

Command AddHealthCommand(CLI::App* root) {
  auto options = std::make_shared<Options>();
  CLI::App* app = root->add_subcommand(
      "health", "Ask a server whether it lives, or whether a service of it takes calls; 0 if so");
  app->add_option("--server", options->server.server, "host:port")->capture_default_str();
  app->add_option("--service", options->service,
                  "Name of one service, such as quire.v1.InferenceService (default: the server)");
  AddConnectionOptions(app, &options->server);
  return {app, [options] { return Health(*options); }};
}

}  // namespace quire::cli
