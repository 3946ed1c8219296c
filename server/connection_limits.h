#pragma once

#include <cstdint>

#include "core/base/clock.h"

namespace quire::server {

// What a listener bears from its connections. Plain data.
struct ConnectionLimits {
  int32_t max_connections = 2048;  // at a time
  int32_t max_streams = 1024;      // calls at a time on one of them
  int32_t max_message_bytes = 4 << 20;
  int32_t max_metadata_bytes = 8 << 10;  // of a call: names, values and 32 for each
  Duration handshake_timeout = std::chrono::seconds(20);
  // A connection is asked for a sign of life when nothing has come for keepalive_time (zero:
  // never), and given up when none comes for keepalive_timeout.
  Duration keepalive_time = std::chrono::seconds(60);
  Duration keepalive_timeout = std::chrono::seconds(20);
  Duration min_ping_interval = std::chrono::seconds(30);  // of a client that sends nothing else
  // A connection takes no more calls after max_age (zero: no end), give or take a tenth, and is
  // closed once its calls have ended, or age_grace after that (zero: however long they take).
  Duration max_age = std::chrono::minutes(30);
  Duration age_grace = Duration::zero();
};

}  // namespace quire::server
