#pragma once

#include "server/cli/command.h"

namespace quire::cli {

// `quire admin`: what a server is doing, and its end, by its --admin-listen.
Command AddAdminCommand(CLI::App* root);

}  // namespace quire::cli
