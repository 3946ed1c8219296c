#pragma once

#include <sys/types.h>

#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"

namespace quire::server {

// Bounds the connections that are open at a time, where those who get them close them without a
// word: a descriptor counts for as long as it is the socket that it was. Not thread-safe.
class OpenConnections {
 public:
  explicit OpenConnections(size_t limit) : limit_(limit) {}

  // Counts a connection that was just accepted; false where there are as many as there may be. A
  // place is free again 20 ms after its connection was closed at the latest, since looking for such
  // places takes time in proportion to the limit.
  bool Add(int fd, TimePoint now);
  // Ends those that are open for both sides, as if their clients had: who owns them closes them.
  void EndAll();

 private:
  void RemoveClosed();

  const size_t limit_;
  absl::flat_hash_map<int, ino_t> sockets_;  // by descriptor
  TimePoint looked_ = TimePoint::min();      // when RemoveClosed was last called
};

}  // namespace quire::server
