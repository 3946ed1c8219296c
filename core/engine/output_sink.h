#pragma once

#include <vector>

#include "core/request/token_event.h"

namespace quire {

// Where a step's events go. Called on the engine thread, at most once a step, events in the order
// they happened; must take them without blocking. Implemented by the server's output dispatcher.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void Deliver(std::vector<TokenEvent> events) = 0;
};

}  // namespace quire
