#pragma once

#include "server/cli/command.h"

namespace quire::cli {

Command AddBenchServeCommand(CLI::App* root);

}  // namespace quire::cli
