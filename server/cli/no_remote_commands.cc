#include "server/cli/commands.h"

namespace quire::cli {

std::vector<Command> AddRemoteCommands(CLI::App*) { return {}; }

}  // namespace quire::cli
