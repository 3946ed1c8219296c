#include "server/cli/generate_command.h"

#include <memory>
#include <optional>
#include <string>

#include "quire/v1/inference.grpc.pb.h"
#include "server/cli/answer_printer.h"
#include "server/cli/generate_request.h"
#include "server/cli/interrupt_canceller.h"
#include "server/cli/server_connection.h"
#include "server/metadata_text.h"

namespace quire::cli {
namespace {

constexpr char kName[] = "quire generate";

struct Options {
  ServerOptions server;
  GenerateOptions generate;
  std::optional<std::string> tenant;
  std::string tenant_header = "x-quire-tenant";
  bool json = false;
};

std::string CheckTenant(const std::string& name) {
  return server::IsMetadataText(name) ? "" : "'" + name + "' is not printable ASCII without spaces";
}

std::string CheckHeader(const std::string& name) {
  return server::IsMetadataKey(name)
             ? ""
             : "'" + name + "' is no header's name; it must be " + server::kMetadataKeyRule;
}

int Generate(const Options& options) {
  // Read before signals are held back, so that Ctrl-C still ends a wait for standard input.
  const v1::GenerateRequest request = MakeGenerateRequest(options.generate);
  grpc::ClientContext context;
  SetDeadline(options.server, &context);
  if (options.tenant) context.AddMetadata(options.tenant_header, *options.tenant);
  InterruptCanceller canceller([&context] { context.TryCancel(); });
  const auto stub = v1::InferenceService::NewStub(Connect(options.server));
  const auto reader = stub->Generate(&context, request);
  AnswerPrinter printer(options.json, request.n() > 1);
  v1::GenerateResponse message;
  absl::Status printed;
  while (printed.ok() && reader->Read(&message)) printed = printer.Print(message);
  if (!printed.ok()) context.TryCancel();
  const absl::Status outcome = ExplainRpc(options.server, reader->Finish());
  printer.Finish();
  if (!printed.ok()) return ReportError(kName, printed);
  if (outcome.ok()) return kExitOk;
  if (!canceller.interrupted()) return ReportError(kName, outcome);
  ReportError(kName, absl::CancelledError("interrupted; the call is cancelled"));
  return kExitInterrupted;
}

}  // namespace

Command AddGenerateCommand(CLI::App* root) {
  auto options = std::make_shared<Options>();
  CLI::App* app = root->add_subcommand("generate", "Continue a prompt on a running server");
  app->add_option("--server", options->server.server, "host:port")->capture_default_str();
  app->add_option("--deadline", options->server.timeout_seconds,
                  "Give up after so many seconds (default: never)")
      ->check(CLI::PositiveNumber);
  app->add_option("--tenant", options->tenant, "Whose request it is, where the server asks")
      ->check(CheckTenant);
  app->add_option("--tenant-header", options->tenant_header,
                  "The server's tenant_metadata_key, which carries that")
      ->check(CheckHeader)
      ->capture_default_str();
  AddGenerateOptions(app, &options->generate);
  app->add_flag("--json", options->json, "Print each message as a line of JSON");
  return {app, [options] { return Generate(*options); }};
}

}  // namespace quire::cli
