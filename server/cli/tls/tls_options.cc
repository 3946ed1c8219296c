#include "server/cli/tls/tls_options.h"

#include <CLI/CLI.hpp>

namespace quire::cli {

void AddTlsOptions(CLI::App* app, TlsOptions* options) {
  CLI::Option* const tls =
      app->add_flag("--tls", options->on, "Speak TLS, and believe the system's roots");
  app->add_option("--ca", options->roots_file, "Believe these instead (PEM)")->needs(tls);
  CLI::Option* const key =
      app->add_option(options->key_flag, options->key_file, "Private key of --cert (PEM)");
  CLI::Option* const certificate =
      app->add_option("--cert", options->certificate_file, "Show this certificate (PEM)");
  certificate->needs(tls)->needs(key);
  key->needs(certificate);
}

}  // namespace quire::cli
