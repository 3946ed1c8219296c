#pragma once

#include <cstddef>

namespace quire::server {

// Gives memory that was freed back to the system: what a burst of calls has taken lies scattered
// over the heap and would otherwise be kept. That holds allocations up, by a tenth of a second or
// more where there is much, so it is done only where the process has grown since it was last done.
class HeapTrim {
 public:
  HeapTrim();
  // To be called now and then, by one thread at a time.
  void Look();

 private:
  size_t resident_bytes_;  // when it was last done, or least since
};

}  // namespace quire::server
