#pragma once

#include <string>

#include "absl/status/status.h"
#include "core/base/clock.h"
#include "server/listen_address.h"

namespace quire::server {

// Shows over a fresh connection that a gRPC listener still takes some: that a connection is made
// proves nothing, as the kernel makes those that nobody will ever accept. So it waits for the first
// thing that the server says: its HTTP/2 settings, or with TLS its part of the handshake, for
// which no certificate is needed. Immutable; any thread.
class ListenerProbe {
 public:
  ListenerProbe(ListenAddress address, bool tls);

  // Unavailable says what did not happen: no socket to be had, no connection, no answer, or
  // another than expected. Takes `timeout` at most.
  absl::Status Run(Duration timeout) const;

 private:
  const ListenAddress address_;
  const bool tls_;
  const std::string hello_;  // what a client says first
};

}  // namespace quire::server
