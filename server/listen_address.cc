#include "server/listen_address.h"

#include <arpa/inet.h>

#include <charconv>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quire::server {
namespace {

bool IsAddress(int family, const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(family, host.c_str(), bytes) == 1;
}

absl::Status Malformed(std::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text),
                   "' is not ADDRESS:PORT with an IPv4 address, an IPv6 address in brackets or "
                   "'localhost', and a port in [0, 65535]; e.g. 127.0.0.1:50051 or [::]:50051"));
}

}  // namespace

bool ListenAddress::IsLoopback() const {
  if (!IsIpv6()) return host.rfind("127.", 0) == 0;
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

std::string ListenAddress::ToString() const {
  if (!IsIpv6()) return absl::StrCat(host, ":", port);
  return absl::StrCat("[", host, "]:", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Malformed(text);
  ListenAddress address;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size() || address.port < 0 ||
      address.port > 65535) {
    return Malformed(text);
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  address.host = std::string(bracketed ? host.substr(1, host.size() - 2) : host);
  if (address.host == "localhost" && !bracketed) address.host = "127.0.0.1";
  if (!IsAddress(bracketed ? AF_INET6 : AF_INET, address.host)) return Malformed(text);
  return address;
}

}  // namespace quire::server
