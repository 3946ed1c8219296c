#include "server/cli/tls/tls_options.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"

namespace quire::cli {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

}  // namespace

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

absl::StatusOr<std::string> ReadFileOfOption(const char* option, const std::string& path) {
  if (path.empty()) return "";
  absl::StatusOr<std::string> content = ReadSmallFile(path, kMaxFileBytes);
  if (content.ok()) return content;
  return absl::Status(content.status().code(),
                      absl::StrCat(option, ": ", content.status().message()));
}

absl::StatusOr<TlsFiles> ReadTlsFiles(const TlsOptions& options) {
  TlsFiles files;
  QUIRE_ASSIGN_OR_RETURN(files.roots, ReadFileOfOption("--ca", options.roots_file));
  QUIRE_ASSIGN_OR_RETURN(files.certificate, ReadFileOfOption("--cert", options.certificate_file));
  QUIRE_ASSIGN_OR_RETURN(files.key, ReadFileOfOption(options.key_flag, options.key_file));
  return files;
}

}  // namespace quire::cli
