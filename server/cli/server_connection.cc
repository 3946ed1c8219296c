#include "server/cli/server_connection.h"

#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"

namespace quire::cli {

std::shared_ptr<grpc::Channel> Connect(const ServerOptions& options) {
  grpc::ChannelArguments arguments;
  // A proxy from the environment is meant for the web, not for a server that was named.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(options.server, grpc::InsecureChannelCredentials(), arguments);
}

void SetDeadline(const ServerOptions& options, grpc::ClientContext* context) {
  if (options.timeout_seconds <= 0) return;
  context->set_deadline(std::chrono::system_clock::now() + FromSeconds(options.timeout_seconds));
}

absl::Status ExplainRpc(const ServerOptions& options, const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  std::string message = absl::StrCat(absl::StatusCodeToString(code), ": ", status.error_message());
  if (absl::StrContains(message, "failed to connect")) {
    absl::StrAppend(&message, " (is a quire-server listening on ", options.server, "?)");
  }
  return absl::Status(code, message);
}

}  // namespace quire::cli
