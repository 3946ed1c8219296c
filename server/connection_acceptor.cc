#include "server/connection_acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace quire::server {
namespace {

// For want of descriptors: others may close theirs meanwhile.
constexpr int kRetryMs = 100;

absl::Status SystemError(const char* call) { return absl::ErrnoToStatus(errno, call); }

void SetOption(int fd, int level, int name, int value) {
  // None of these can fail on a TCP socket, and the server works without them.
  setsockopt(fd, level, name, &value, sizeof(value));
}

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

SocketAddress ToSocketAddress(const ListenAddress& address) {
  SocketAddress result{};
  if (address.host.find(':') == std::string::npos) {
    result.v4.sin_family = AF_INET;
    result.v4.sin_port = htons(static_cast<uint16_t>(address.port));
    inet_pton(AF_INET, address.host.c_str(), &result.v4.sin_addr);
  } else {
    result.v6.sin6_family = AF_INET6;
    result.v6.sin6_port = htons(static_cast<uint16_t>(address.port));
    inet_pton(AF_INET6, address.host.c_str(), &result.v6.sin6_addr);
  }
  return result;
}

void Count(std::atomic<uint64_t>* counter) {
  if (counter != nullptr) ++*counter;
}

void CloseIfOpen(int fd) {
  if (fd >= 0) close(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> ConnectionAcceptor::Listen(
    const ListenAddress& address, const Options& options) {
  QUIRE_CHECK(options.max_connections >= 1) << options.max_connections << " connections";
  auto result = std::unique_ptr<ConnectionAcceptor>(new ConnectionAcceptor(address, options));
  QUIRE_RETURN_IF_ERROR(result->Bind());
  return result;
}

ConnectionAcceptor::ConnectionAcceptor(const ListenAddress& address, const Options& options)
    : address_(address), options_(options), open_(static_cast<size_t>(options.max_connections)) {}

ConnectionAcceptor::~ConnectionAcceptor() {
  Stop();
  CloseIfOpen(stop_event_);
}

absl::Status ConnectionAcceptor::Bind() {
  SocketAddress address = ToSocketAddress(address_);
  stop_event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (stop_event_ < 0) return SystemError("eventfd");
  listener_ = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0) return SystemError("socket");
  // A server that starts again need not wait for the connections of the last one.
  SetOption(listener_, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.any.sa_family == AF_INET6) SetOption(listener_, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // Connections inherit these two.
  SetOption(listener_, IPPROTO_TCP, TCP_NODELAY, 1);
  const auto send_timeout =
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.send_timeout);
  SetOption(listener_, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(send_timeout.count()));
  socklen_t size = sizeof(address);
  if (bind(listener_, &address.any, size) != 0) return SystemError("bind");
  if (listen(listener_, SOMAXCONN) != 0) return SystemError("listen");
  if (getsockname(listener_, &address.any, &size) != 0) return SystemError("getsockname");
  // At the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  address_.port = ntohs(address.v4.sin_port);
  return absl::OkStatus();
}

void ConnectionAcceptor::Start(Handler handler) {
  QUIRE_CHECK(handler_ == nullptr) << "started twice";
  handler_ = std::move(handler);
  thread_ = std::thread([this] { Run(); });
}

void ConnectionAcceptor::Stop() {
  if (thread_.joinable()) {
    eventfd_write(stop_event_, 1);
    thread_.join();
  }
  CloseIfOpen(std::exchange(listener_, -1));
}

void ConnectionAcceptor::Run() {
  bool accepts = true;
  while (true) {
    pollfd events[] = {{.fd = stop_event_, .events = POLLIN, .revents = 0},
                       {.fd = listener_, .events = POLLIN, .revents = 0}};
    poll(events, accepts ? 2 : 1, accepts ? -1 : kRetryMs);
    if (events[0].revents != 0) return;
    accepts = AcceptWaiting();
  }
}

bool ConnectionAcceptor::AcceptWaiting() {
  // Now and then, whoever stops this is looked for.
  for (int i = 0; i < 64; ++i) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(fd);
      continue;
    }
    if (errno == EAGAIN) return true;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      Count(options_.failures);
      return false;
    }
    // All else is about the one connection, which has gone away.
  }
  return true;
}

void ConnectionAcceptor::Take(int fd) {
  if (open_.Add(fd, std::chrono::steady_clock::now())) return handler_(fd);
  Count(options_.refused);
  close(fd);
}

}  // namespace quire::server
