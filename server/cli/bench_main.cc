#include "server/cli/bench_step_command.h"

int main(int argc, char** argv) {
  CLI::App root("quire-bench: how fast Quire is on this machine", "quire-bench");
  return quire::cli::RunCommandLine(&root, {quire::cli::AddBenchStepCommand(&root)}, argc, argv);
}
