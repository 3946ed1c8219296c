#pragma once

#include <cstddef>
#include <cstdint>

namespace quire::server {

// What of an answer may gather behind a message on its way to the client.
struct StreamLimits {
  // With more the call is ended.
  size_t bytes = 0;
  // Of each answer; with as many its request is paused until the message is out. 0: any number.
  int32_t tokens = 0;
};

}  // namespace quire::server
