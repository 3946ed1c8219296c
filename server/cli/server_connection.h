#pragma once

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/cli/tls/tls_options.h"

namespace quire::cli {

// How to reach a server and prove who calls, as every remote command's options say it.
struct ServerOptions {
  std::string server = "127.0.0.1:50051";
  double timeout_seconds = 0;  // of a call; 0: none
  TlsOptions tls = {};
  std::string api_key_file = {};  // empty: QUIRE_API_KEY of the environment, if it is there
};

// All of them but the server's name.
void AddConnectionOptions(CLI::App* app, ServerOptions* options);

class ServerConnection {
 public:
  // Reads the files; connecting happens with the first call. An error names the option to change.
  static absl::StatusOr<ServerConnection> Open(const ServerOptions& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Gives a call its deadline and the API key.
  void Prepare(grpc::ClientContext* context) const;

  // A call's outcome in words for people: the status code's name, the server's message, and what to
  // do where no server answered.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  ServerConnection(std::string server, double timeout_seconds, std::string api_key,
                   std::shared_ptr<grpc::Channel> channel)
      : server_(std::move(server)),
        timeout_seconds_(timeout_seconds),
        api_key_(std::move(api_key)),
        channel_(std::move(channel)) {}

  std::string server_;
  double timeout_seconds_;
  std::string api_key_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace quire::cli
