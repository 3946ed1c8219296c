#include "server/cli/generate_command.h"

#include <memory>

#include "quire/v1/inference.grpc.pb.h"
#include "server/cli/answer_printer.h"
#include "server/cli/generate_request.h"
#include "server/cli/interrupt_canceller.h"
#include "server/cli/server_connection.h"

namespace quire::cli {
namespace {

constexpr char kName[] = "quire generate";

struct Options {
  ServerOptions server;
  GenerateOptions generate;
  bool json = false;
};

int Generate(const Options& options) {
  // Read before signals are held back, so that Ctrl-C still ends a wait for standard input.
  const v1::GenerateRequest request = MakeGenerateRequest(options.generate);
  const absl::StatusOr<ServerConnection> connection = ServerConnection::Open(options.server);
  if (!connection.ok()) return ReportError(kName, connection.status());
  grpc::ClientContext context;
  connection->Prepare(&context);
  InterruptCanceller canceller([&context] { context.TryCancel(); });
  const auto stub = v1::InferenceService::NewStub(connection->channel());
  const auto reader = stub->Generate(&context, request);
  AnswerPrinter printer(options.json, request.n() > 1);
  v1::GenerateResponse message;
  absl::Status printed;
  while (printed.ok() && reader->Read(&message)) printed = printer.Print(message);
  if (!printed.ok()) context.TryCancel();
  const absl::Status outcome = connection->Explain(reader->Finish());
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
  AddConnectionOptions(app, &options->server);
  AddGenerateOptions(app, &options->generate);
  app->add_flag("--json", options->json, "Print each message as a line of JSON");
  return {app, [options] { return Generate(*options); }};
}

}  // namespace quire::cli
