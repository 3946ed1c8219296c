#pragma once

#include <vector>

#include "server/cli/command.h"

// The subcommands of `quire`. Each adds itself to `root`.

namespace quire::cli {

Command AddCheckCommand(CLI::App* root);
Command AddInspectCommand(CLI::App* root);
Command AddPlanCommand(CLI::App* root);
Command AddRegroupCommand(CLI::App* root);
Command AddTokenizeCommand(CLI::App* root);

// The commands that talk to a server; none in a build without gRPC.
std::vector<Command> AddRemoteCommands(CLI::App* root);

}  // namespace quire::cli
