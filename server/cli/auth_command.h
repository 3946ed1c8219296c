#pragma once

#include "server/cli/command.h"

namespace quire::cli {

Command AddAuthCommand(CLI::App* root);

}  // namespace quire::cli
