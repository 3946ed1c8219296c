#include "server/cli/admin_command.h"
#include "server/cli/auth_command.h"
#include "server/cli/commands.h"
#include "server/cli/generate_command.h"
#include "server/cli/health_command.h"

namespace quire::cli {

std::vector<Command> AddRemoteCommands(CLI::App* root) {
  return {AddGenerateCommand(root), AddHealthCommand(root), AddAdminCommand(root),
          AddAuthCommand(root)};
}

}  // namespace quire::cli
