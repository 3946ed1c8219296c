#include "server/cli/tls/channel_credentials.h"

#include <utility>

#include "core/base/status_macros.h"

namespace quire::cli {

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsOptions& options) {
  if (!options.on) return grpc::InsecureChannelCredentials();
  QUIRE_ASSIGN_OR_RETURN(TlsFiles files, ReadTlsFiles(options));
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = std::move(files.roots);
  tls.pem_cert_chain = std::move(files.certificate);
  tls.pem_private_key = std::move(files.key);
  return grpc::SslCredentials(tls);
}

}  // namespace quire::cli
