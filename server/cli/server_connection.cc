#include "server/cli/server_connection.h"

#include <chrono>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "server/cli/tls/channel_credentials.h"
#include "server/metadata_text.h"

namespace quire::cli {
namespace {

absl::StatusOr<std::string> ReadApiKey(const ServerOptions& options) {
  const char* const from_environment = std::getenv("QUIRE_API_KEY");
  const bool is_file = !options.api_key_file.empty();
  std::string key = from_environment == nullptr ? "" : from_environment;
  if (is_file) {
    QUIRE_ASSIGN_OR_RETURN(key, ReadFileOfOption("--api-key-file", options.api_key_file));
  }
  absl::StripAsciiWhitespace(&key);
  if (server::IsMetadataText(key)) return key;
  return absl::InvalidArgumentError(
      absl::StrCat(is_file ? "--api-key-file" : "QUIRE_API_KEY",
                   ": a key is printable ASCII without spaces, on one line"));
}

}  // namespace

void AddConnectionOptions(CLI::App* app, ServerOptions* options) {
  CLI::Option* const deadline =
      app->add_option("--deadline", options->timeout_seconds, "Give up after so many seconds")
          ->check(CLI::PositiveNumber);
  if (options->timeout_seconds > 0) deadline->capture_default_str();
  AddTlsOptions(app, &options->tls);
  app->add_option("--api-key-file", options->api_key_file,
                  "File with an API key or token to send (default: QUIRE_API_KEY of the "
                  "environment, if it is there)");
}

absl::StatusOr<ServerConnection> ServerConnection::Open(const ServerOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::string api_key, ReadApiKey(options));
  QUIRE_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(options.tls));
  grpc::ChannelArguments arguments;
  // A proxy from the environment is meant for the web, not for a server that was named.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return ServerConnection(options.server, options.timeout_seconds, std::move(api_key),
                          grpc::CreateCustomChannel(options.server, credentials, arguments));
}

void ServerConnection::Prepare(grpc::ClientContext* context) const {
  if (!api_key_.empty()) context->AddMetadata("authorization", absl::StrCat("Bearer ", api_key_));
  if (timeout_seconds_ <= 0) return;
  context->set_deadline(std::chrono::system_clock::now() + FromSeconds(timeout_seconds_));
}

absl::Status ServerConnection::Explain(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  std::string message = absl::StrCat(absl::StatusCodeToString(code), ": ", status.error_message());
  if (absl::StrContains(message, "failed to connect")) {
    absl::StrAppend(&message, " at ", server_, kNoServerHint);
  }
  return absl::Status(code, message);
}

}  // namespace quire::cli
