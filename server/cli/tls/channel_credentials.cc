#include "server/cli/tls/channel_credentials.h"

#include "absl/strings/str_cat.h"
#include "core/base/small_file.h"
#include "core/base/status_macros.h"

namespace quire::cli {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::string> ReadFileOfOption(const char* option, const std::string& path) {
  if (path.empty()) return "";
  absl::StatusOr<std::string> content = ReadSmallFile(path, kMaxFileBytes);
  if (content.ok()) return content;
  return absl::Status(content.status().code(),
                      absl::StrCat(option, ": ", content.status().message()));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options) {
  if (!options.on) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  QUIRE_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadFileOfOption("--ca", options.roots_file));
  QUIRE_ASSIGN_OR_RETURN(tls.pem_cert_chain, ReadFileOfOption("--cert", options.certificate_file));
  QUIRE_ASSIGN_OR_RETURN(tls.pem_private_key, ReadFileOfOption(options.key_flag, options.key_file));
  return grpc::SslCredentials(tls);
}

}  // namespace quire::cli
