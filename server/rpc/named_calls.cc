#include "server/rpc/named_calls.h"

#include <algorithm>

namespace quire::server {

void NamedCalls::Add(TenantId tenant, const std::string& name, std::span<const RequestId> ids) {
  MutexLock lock(&mu_);
  std::vector<RequestId>& all = calls_[Key(tenant, name)];
  all.insert(all.end(), ids.begin(), ids.end());
}

void NamedCalls::Remove(TenantId tenant, const std::string& name, std::span<const RequestId> ids) {
  MutexLock lock(&mu_);
  const auto call = calls_.find(Key(tenant, name));
  if (call == calls_.end()) return;
  std::erase_if(call->second, [&](RequestId id) { return std::ranges::count(ids, id) > 0; });
  if (call->second.empty()) calls_.erase(call);
}

std::vector<RequestId> NamedCalls::Find(TenantId tenant, const std::string& name) const {
  MutexLock lock(&mu_);
  const auto call = calls_.find(Key(tenant, name));
  return call == calls_.end() ? std::vector<RequestId>() : call->second;
}

}  // namespace quire::server
