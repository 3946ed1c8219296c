#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/listen_address.h"
#include "server/open_connections.h"

namespace quire::server {

// A TCP port and the thread that accepts its connections, in the place of gRPC's own listener: that
// of 1.51 has no bound on connections and, once there was no descriptor for one, never accepts
// again (CVE-2023-4785). This one closes connections beyond the bound at once, so that their
// clients can try elsewhere, and goes on when there are descriptors again.
class ConnectionAcceptor {
 public:
  struct Options {
    int32_t max_connections = 0;
    // How long what was sent may stay unacknowledged before the connection is given up; zero: as
    // long as the system says.
    Duration send_timeout = Duration::zero();
    // Count connections beyond the bound, and tries to accept one that failed for want of
    // descriptors or memory; may be null.
    std::atomic<uint64_t>* refused = nullptr;
    std::atomic<uint64_t>* failures = nullptr;
  };
  // Takes a connection over: a non-blocking descriptor that it has to close. On the thread.
  using Handler = std::function<void(int fd)>;

  // Binds the address; connections wait from then on. The error is the system's.
  static absl::StatusOr<std::unique_ptr<ConnectionAcceptor>> Listen(const ListenAddress& address,
                                                                    const Options& options);
  // As Stop.
  ~ConnectionAcceptor();
  ConnectionAcceptor(const ConnectionAcceptor&) = delete;
  ConnectionAcceptor& operator=(const ConnectionAcceptor&) = delete;

  // With the port that was bound.
  const ListenAddress& address() const { return address_; }

  // Once.
  void Start(Handler handler);
  // Stops listening. The handler is not called any more once this has returned.
  void Stop();
  // Then, at most once: ends the connections that were handed over and are still open.
  void EndConnections() { open_.EndAll(); }

 private:
  ConnectionAcceptor(const ListenAddress& address, const Options& options);

  absl::Status Bind();
  void Run();
  // Hands over what waits; false where that failed for want of descriptors or memory.
  bool AcceptWaiting();
  void Take(int fd);

  ListenAddress address_;
  const Options options_;
  OpenConnections open_;
  int listener_ = -1;
  int stop_event_ = -1;  // readable: stop
  Handler handler_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace quire::server
