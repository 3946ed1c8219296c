#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace quire::cli {

// How to reach a server, as every remote command's options say it.
struct ServerOptions {
  std::string server = "127.0.0.1:50051";
  double timeout_seconds = 0;  // 0: none
};

// A plaintext channel. Connecting happens with the first call.
std::shared_ptr<grpc::Channel> Connect(const ServerOptions& options);

void SetDeadline(const ServerOptions& options, grpc::ClientContext* context);

// A call's outcome in words for people: the status code's name, the server's message, and what to
// do where no server answered.
absl::Status ExplainRpc(const ServerOptions& options, const grpc::Status& status);

}  // namespace quire::cli
