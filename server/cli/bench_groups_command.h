#pragma once

#include "server/cli/command.h"

namespace quire::cli {

Command AddBenchGroupsCommand(CLI::App* root);

}  // namespace quire::cli
