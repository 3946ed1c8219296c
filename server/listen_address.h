#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quire::server {

// An address to listen on. Only literal addresses, so that what is bound and whether it can be
// reached from outside does not hang on a name service.
struct ListenAddress {
  std::string host;  // IPv4 or IPv6 address, without brackets
  int port = 0;      // 0: any free one

  bool IsIpv6() const { return host.find(':') != std::string::npos; }
  bool IsLoopback() const;
  std::string ToString() const;  // HOST:PORT, with brackets around IPv6
};

// Reads ADDRESS:PORT; "localhost" stands for 127.0.0.1.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

}  // namespace quire::server
