#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire-bench kernels`: each operation of a step as a share of what the machine can do.
Command AddBenchKernelsCommand(CLI::App* root);

}  // namespace quire::cli
