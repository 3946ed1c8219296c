#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::server {

// What a listener's TLS is made of; PEM files, read again when they change.
struct TlsFiles {
  std::string certificate;  // the server's, and those between it and its root
  std::string key;
  std::string client_roots;  // who signs client certificates; empty: none is asked for
  bool require_client_certificate = false;

  bool empty() const { return certificate.empty(); }
};

// Reads the files as a listener would and returns when the certificate ends. InvalidArgument says
// which flag's file is unfit, and why: gRPC itself would say nothing and refuse every connection.
absl::StatusOr<absl::Time> CheckTlsFiles(const TlsFiles& files);

}  // namespace quire::server
