#include "server/liveness/listener_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace quire::server {
namespace {

// A client's connection preface and its empty SETTINGS frame (RFC 9113, 3.4 and 4.1).
constexpr char kHttp2Hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kFrameTypePlace = 3;
constexpr char kSettingsFrame = 4;
// The first byte of a TLS record (RFC 8446, 5.1).
constexpr char kHandshakeRecord = 22;

std::string Http2Hello() { return {kHttp2Hello, sizeof(kHttp2Hello) - 1}; }

std::string TlsHello() {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  QUIRE_CHECK(context != nullptr) << "SSL_CTX_new";
  const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(context.get()), &SSL_free);
  QUIRE_CHECK(tls != nullptr) << "SSL_new";
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(tls.get(), kHttp2, sizeof(kHttp2));
  BIO* const sent = BIO_new(BIO_s_mem());
  SSL_set_bio(tls.get(), BIO_new(BIO_s_mem()), sent);  // takes both
  SSL_connect(tls.get());                              // as far as it comes without an answer
  char* bytes = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(sent, &bytes));
  return {bytes, size};
}

absl::Status Failed(const char* what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::generic_category().message(error)));
}

// Waits until `fd` is ready for `events`.
absl::Status Await(int fd, int16_t events, TimePoint until, const char* what) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd wanted = {.fd = fd, .events = events, .revents = 0};
    const int ready = poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return absl::UnavailableError(absl::StrCat(what, ": nothing in time"));
    if (errno != EINTR) return Failed(what, errno);
  }
}

absl::Status Connect(int fd, const ListenAddress& address, TimePoint until) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(sockaddr_in);
  if (address.IsIpv6()) {
    auto* const ipv6 = reinterpret_cast<sockaddr_in6*>(&storage);
    size = sizeof(sockaddr_in6);
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons(static_cast<uint16_t>(address.port));
    inet_pton(AF_INET6, address.host.c_str(), &ipv6->sin6_addr);
  } else {
    auto* const ipv4 = reinterpret_cast<sockaddr_in*>(&storage);
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = htons(static_cast<uint16_t>(address.port));
    inet_pton(AF_INET, address.host.c_str(), &ipv4->sin_addr);
  }
  if (connect(fd, reinterpret_cast<sockaddr*>(&storage), size) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS) return Failed("connect", errno);
  QUIRE_RETURN_IF_ERROR(Await(fd, POLLOUT, until, "connect"));
  int error = 0;
  socklen_t error_size = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
  return error == 0 ? absl::OkStatus() : Failed("connect", error);
}

// The first `size` bytes that come.
absl::StatusOr<std::string> Read(int fd, size_t size, TimePoint until) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    QUIRE_RETURN_IF_ERROR(Await(fd, POLLIN, until, "read"));
    const ssize_t got = recv(fd, bytes.data() + have, size - have, 0);
    if (got == 0) return absl::UnavailableError("the connection was closed without an answer");
    if (got < 0 && errno != EAGAIN && errno != EINTR) return Failed("read", errno);
    if (got > 0) have += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace

ListenerProbe::ListenerProbe(ListenAddress address, bool tls)
    : address_(std::move(address)), tls_(tls), hello_(tls ? TlsHello() : Http2Hello()) {}

absl::Status ListenerProbe::Run(Duration timeout) const {
  const TimePoint until = std::chrono::steady_clock::now() + timeout;
  const int fd =
      socket(address_.IsIpv6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed("socket", errno);
  const absl::Cleanup close_it = [fd] { close(fd); };
  QUIRE_RETURN_IF_ERROR(Connect(fd, address_, until));
  // A fresh connection has room for it.
  if (send(fd, hello_.data(), hello_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(hello_.size())) {
    return Failed("write", errno);
  }
  const size_t wanted = tls_ ? 1 : kFrameHeaderBytes;
  QUIRE_ASSIGN_OR_RETURN(const std::string answer, Read(fd, wanted, until));
  const bool expected =
      tls_ ? answer[0] == kHandshakeRecord : answer[kFrameTypePlace] == kSettingsFrame;
  if (expected) return absl::OkStatus();
  return absl::UnavailableError("the answer is not that of a gRPC server");
}

}  // namespace quire::server
