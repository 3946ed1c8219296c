#pragma once

#include <string>

namespace CLI {
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

}  // namespace quire::cli
