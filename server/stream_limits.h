#pragma once

#include <cstddef>
#include <cstdint>

namespace quire::server {

// What of an answer may gather behind a message on its way to the client.
struct StreamLimits {
  // Of what was generated; with more the call is ended. Scores of a prompt may be 32 times that.
  size_t bytes = 0;
  // Of each answer; with as many its request is paused until they are on their way. 0: any number.
  int32_t tokens = 0;
};

}  // namespace quire::server
