#include "server/cli/command.h"

#include <iostream>

namespace quire::cli {

int RunCommandLine(CLI::App* root, const std::vector<Command>& commands, int argc, char** argv) {
  root->require_subcommand(1);
  try {
    root->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Prints help or what is wrong; its own numbers for the ways to be wrong help nobody.
    return root->exit(error) == 0 ? kExitOk : kExitUsage;
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return kExitUsage;
}

int ReportError(const std::string& command, const absl::Status& status) {
  std::cerr << command << ": " << status.message() << '\n';
  return kExitError;
}

}  // namespace quire::cli
