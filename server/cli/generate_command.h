#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire generate`: sends one prompt to a server and prints the answer as it comes.
Command AddGenerateCommand(CLI::App* root);

}  // namespace quire::cli
