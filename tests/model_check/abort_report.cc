#include "tests/model_check/abort_report.h"

#include <csignal>
#include <cstdio>
#include <utility>

namespace quire::testing {

const AbortReport* AbortReport::current_ = nullptr;

AbortReport::AbortReport(std::function<std::string()> report)
    : report_(std::move(report)), before_(std::signal(SIGABRT, &AbortReport::Print)) {
  current_ = this;
}

AbortReport::~AbortReport() {
  std::signal(SIGABRT, before_);
  current_ = nullptr;
}

// Not the place to allocate, but abort() was called by our own thread and the process ends here.
void AbortReport::Print(int) {
  std::signal(SIGABRT, SIG_DFL);
  std::fprintf(stderr, "%s\n", current_->report_().c_str());
  std::fflush(stderr);
}

}  // namespace quire::testing
