#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11 chose it
class App;
}

namespace quire::cli {

// How a client speaks TLS: the files are PEM, and each may be left out.
struct TlsOptions {
  bool on = false;
  std::string roots_file = {};  // who vouches for the server, instead of the system's roots
  std::string certificate_file = {};
  std::string key_file = {};
  const char* key_flag = "--key";  // may be taken already
};

void AddTlsOptions(CLI::App* app, TlsOptions* options);

// What is in the files; "" of one that was left out.
struct TlsFiles {
  std::string roots;
  std::string certificate;
  std::string key;
};

// An error names the option.
absl::StatusOr<TlsFiles> ReadTlsFiles(const TlsOptions& options);
absl::StatusOr<std::string> ReadFileOfOption(const char* option, const std::string& path);

}  // namespace quire::cli
