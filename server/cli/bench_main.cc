#include "absl/synchronization/mutex.h"
#include "server/cli/bench_fleet_command.h"
#include "server/cli/bench_groups_command.h"
#include "server/cli/bench_kernels_command.h"
#include "server/cli/bench_serve_command.h"
#include "server/cli/bench_step_command.h"

int main(int argc, char** argv) {
  // As the server does: what the client takes of the machine's time the server does not have.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  CLI::App root("quire-bench: how fast a model runs here, and how fast a server answers",
                "quire-bench");
  const auto step = quire::cli::AddBenchStepCommand(&root);
  const auto kernels = quire::cli::AddBenchKernelsCommand(&root);
  const auto serve = quire::cli::AddBenchServeCommand(&root);
  const auto groups = quire::cli::AddBenchGroupsCommand(&root);
  const auto fleet = quire::cli::AddBenchFleetCommand(&root);
  return quire::cli::RunCommandLine(&root, {step, kernels, serve, groups, fleet}, argc, argv);
}
