#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire health`: asks grpc.health.v1.Health; for container health checks.
Command AddHealthCommand(CLI::App* root);

}  // namespace quire::cli
