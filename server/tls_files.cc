#include "server/tls_files.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"

namespace quire::server {
namespace {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

// The reason is OpenSSL's first one; the rest are consequences.
absl::Status Unfit(const char* flag, const std::string& path) {
  const unsigned long code = ERR_get_error();  // NOLINT(google-runtime-int): OpenSSL's type
  const char* const reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", path, ": ", reason == nullptr ? "cannot be read" : reason));
}

// A key with a password would be asked for on the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

}  // namespace

absl::StatusOr<absl::Time> CheckTlsFiles(const TlsFiles& files) {
  ERR_clear_error();
  const std::unique_ptr<SSL_CTX, FreeContext> context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return absl::InternalError("OpenSSL cannot be used");
  SSL_CTX_set_default_passwd_cb(context.get(), NoPassword);
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return Unfit("--tls-cert", files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return Unfit("--tls-key", files.key);
  }
  if (!files.client_roots.empty() &&
      SSL_CTX_load_verify_locations(context.get(), files.client_roots.c_str(), nullptr) != 1) {
    return Unfit("--tls-client-ca", files.client_roots);
  }
  std::tm end{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context.get())), &end) != 1) {
    return Unfit("--tls-cert", files.certificate);
  }
  return absl::FromTM(end, absl::UTCTimeZone());
}

}  // namespace quire::server
