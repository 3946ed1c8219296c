#include "server/cli/fleet/router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire::cli {
namespace {

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): each bit of the result depends on all.
uint64_t Mix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

uint64_t Combine(uint64_t hash, uint64_t more) { return Mix(hash + 0x9e3779b97f4a7c15 + more); }

class RoundRobin final : public Router {
 public:
  size_t Choose(const RoutedRequest&, FleetView view) override { return next_++ % view.size(); }

 private:
  size_t next_ = 0;
};

// The replica where `cost` is least.
class Least {
 public:
  template <typename Cost>
  size_t Choose(FleetView view, const Cost& cost) {
    const size_t first = (last_ + 1) % view.size();
    size_t best = first;
    for (size_t i = 1; i < view.size(); ++i) {
      const size_t replica = (first + i) % view.size();
      if (cost(*view[replica]) < cost(*view[best])) best = replica;
    }
    return last_ = best;
  }

 private:
  size_t last_ = SIZE_MAX;
};

class LeastKv final : public Router {
 public:
  size_t Choose(const RoutedRequest&, FleetView view) override {
    return least_.Choose(view, [](const ReplicaState& replica) { return replica.load; });
  }

 private:
  Least least_;
};

class TenantAware final : public Router {
 public:
  size_t Choose(const RoutedRequest& request, FleetView view) override {
    return least_.Choose(view, [&](const ReplicaState& replica) {
      return std::pair(replica.tenants[request.tenant].tokens, replica.load);
    });
  }

 private:
  Least least_;
};

class PrefixAffinity final : public Router {
 public:
  explicit PrefixAffinity(const RouterOptions& options) : options_(options) {}

  size_t Choose(const RoutedRequest& request, FleetView view) override {
    double load = 0;
    for (const ReplicaState* replica : view) load += static_cast<double>(replica->load);
    const double most = (1 + options_.slack) * load / static_cast<double>(view.size());
    const uint64_t hash = HashOf(request);
    size_t best = 0;
    uint64_t highest = 0;
    for (size_t replica = 0; replica < view.size(); ++replica) {
      // The least loaded is never beyond the mean, so one is left.
      if (static_cast<double>(view[replica]->load) > most) continue;
      const uint64_t rank = Combine(hash, replica);
      if (rank < highest) continue;
      highest = rank;
      best = replica;
    }
    return best;
  }

 private:
  // Tenants do not share KV, so neither need they share a home.
  uint64_t HashOf(const RoutedRequest& request) const {
    const auto tokens =
        std::min(request.prompt.size(), static_cast<size_t>(options_.prefix_tokens));
    uint64_t hash = Mix(request.tenant);
    for (const uint32_t token : request.prompt.first(tokens)) hash = Combine(hash, token);
    return hash;
  }

  const RouterOptions options_;
};

}  // namespace

const std::vector<std::string>& RouterNames() {
  static const auto* const names =
      new std::vector<std::string>{"round-robin", "least-kv", "prefix-affinity", "tenant-aware"};
  return *names;
}

absl::StatusOr<std::unique_ptr<Router>> MakeRouter(const std::string& name,
                                                   const RouterOptions& options) {
  if (name == "round-robin") return std::make_unique<RoundRobin>();
  if (name == "least-kv") return std::make_unique<LeastKv>();
  if (name == "prefix-affinity") return std::make_unique<PrefixAffinity>(options);
  if (name == "tenant-aware") return std::make_unique<TenantAware>();
  return absl::NotFoundError(
      absl::StrCat("'", name, "' is not one of ", absl::StrJoin(RouterNames(), ", ")));
}

}  // namespace quire::cli
