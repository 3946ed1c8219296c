#include "server/cli/commands.h"

int main(int argc, char** argv) {
  CLI::App root("quire: client and toolbox of the Quire inference server", "quire");
  std::vector<quire::cli::Command> commands = quire::cli::AddRemoteCommands(&root);
  commands.push_back(quire::cli::AddCheckCommand(&root));
  commands.push_back(quire::cli::AddInspectCommand(&root));
  commands.push_back(quire::cli::AddPlanCommand(&root));
  commands.push_back(quire::cli::AddRegroupCommand(&root));
  commands.push_back(quire::cli::AddTokenizeCommand(&root));
  return quire::cli::RunCommandLine(&root, commands, argc, argv);
}
