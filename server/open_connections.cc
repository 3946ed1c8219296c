#include "server/open_connections.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <optional>

namespace quire::server {
namespace {

constexpr Duration kLookInterval = std::chrono::milliseconds(20);

// What tells a socket from all others; nullopt: the descriptor is not one.
std::optional<ino_t> SocketOf(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) return std::nullopt;
  return status.st_ino;
}

}  // namespace

bool OpenConnections::Add(int fd, TimePoint now) {
  const std::optional<ino_t> socket = SocketOf(fd);
  if (!socket.has_value()) return false;
  sockets_.erase(fd);  // closed, or it could not be used again
  if (sockets_.size() >= limit_ && now - kLookInterval >= looked_) {
    looked_ = now;
    RemoveClosed();
  }
  if (sockets_.size() >= limit_) return false;
  sockets_.emplace(fd, *socket);
  return true;
}

void OpenConnections::EndAll() {
  RemoveClosed();
  for (const auto& entry : sockets_) shutdown(entry.first, SHUT_RDWR);
}

void OpenConnections::RemoveClosed() {
  absl::erase_if(sockets_, [](const auto& entry) { return SocketOf(entry.first) != entry.second; });
}

}  // namespace quire::server
