#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire-bench step`: speed of single steps, without an engine or a server.
Command AddBenchStepCommand(CLI::App* root);

}  // namespace quire::cli
