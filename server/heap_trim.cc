#include "server/heap_trim.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace quire::server {
namespace {

constexpr size_t kMuch = size_t{64} << 20;

// 0 where the system does not say.
size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

HeapTrim::HeapTrim() : resident_bytes_(ResidentBytes()) {}

void HeapTrim::Look() {
  const size_t resident = ResidentBytes();
  resident_bytes_ = std::min(resident_bytes_, resident);
  if (resident < resident_bytes_ + kMuch) return;
#ifdef __GLIBC__
  if (mallinfo2().fordblks > kMuch) malloc_trim(0);
#endif
  resident_bytes_ = ResidentBytes();
}

}  // namespace quire::server
