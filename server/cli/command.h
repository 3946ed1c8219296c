#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace quire::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;          // the command could not do what it was asked for
inline constexpr int kExitUsage = 2;          // the command line makes no sense
inline constexpr int kExitInterrupted = 130;  // as a shell reports SIGINT

// A subcommand: `run` is called once the command line has been parsed and `app` was named in it,
// and returns the exit status. Whatever the options write to lives in the closure.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

// Parses the command line and runs the one command that it names.
int RunCommandLine(CLI::App* root, const std::vector<Command>& commands, int argc, char** argv);

// "quire inspect: <message>" on standard error. Returns kExitError.
int ReportError(const std::string& command, const absl::Status& status);

}  // namespace quire::cli
