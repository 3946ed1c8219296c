#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire-bench fleet`: many replicas in virtual time, and how requests are best spread over them.
Command AddBenchFleetCommand(CLI::App* root);

}  // namespace quire::cli
