#include "server/file_limit.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace quire::server {

absl::Status RaiseFileLimit(int64_t needed) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= static_cast<rlim_t>(needed)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("only ", limit.rlim_cur, " files may be open, and ", needed,
                   " are needed; raise the hard limit (ulimit -Hn), or lower --max-connections"));
}

}  // namespace quire::server
