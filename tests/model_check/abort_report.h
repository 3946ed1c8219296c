#pragma once

#include <functional>
#include <string>

namespace quire::testing {

// While it lives, an abort (a broken QUIRE_CHECK) prints what the function returns. One at a time.
class AbortReport {
 public:
  explicit AbortReport(std::function<std::string()> report);
  ~AbortReport();
  AbortReport(const AbortReport&) = delete;
  AbortReport& operator=(const AbortReport&) = delete;

 private:
  static void Print(int signal);

  static const AbortReport* current_;  // a signal handler is given nothing else to go by

  const std::function<std::string()> report_;
  void (*const before_)(int);
};

}  // namespace quire::testing
