#include "server/file_limit.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace quire::server {
namespace {

constexpr rlim_t kMinOpenFiles = 1024;

}  // namespace

absl::Status RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= kMinOpenFiles) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("only ", limit.rlim_cur, " files may be open, and at least ", kMinOpenFiles,
                   " are needed; raise the hard limit (ulimit -Hn)"));
}

}  // namespace quire::server
