#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/base/mutex.h"

namespace quire::server {

// Live calls by the names that their callers gave them, for protocols that end a call by its name
// from another call. A name is its tenant's: nobody finds another's calls. It need not be unique.
// Thread-safe.
class NamedCalls {
 public:
  // `ids`: of the call's answers.
  void Add(TenantId tenant, const std::string& name, std::span<const RequestId> ids);
  void Remove(TenantId tenant, const std::string& name, std::span<const RequestId> ids);
  // Of all calls with the name.
  std::vector<RequestId> Find(TenantId tenant, const std::string& name) const;

 private:
  using Key = std::pair<TenantId, std::string>;

  mutable Mutex mu_;
  absl::flat_hash_map<Key, std::vector<RequestId>> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace quire::server
