#pragma once

#include <sstream>

// QUIRE_CHECK states an invariant of our own code. When it is broken the process prints where and
// why and aborts: it never guards outside input, which gets an absl::Status instead.

namespace quire::internal {

// Collects the streamed message and aborts in its destructor.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

// Gives both branches of the conditional in QUIRE_CHECK the type void; & binds looser than <<.
struct CheckVoidify {
  void operator&(std::ostream&) const {}
};

}  // namespace quire::internal

#define QUIRE_CHECK(condition)                      \
  (condition) ? static_cast<void>(0)                \
              : ::quire::internal::CheckVoidify{} & \
                    ::quire::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()
