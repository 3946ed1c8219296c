#include "server/cli/load/prompt_source.h"

#include <algorithm>
#include <random>

#include "core/base/check.h"
#include "server/cli/load/load_laws.h"

namespace quire::cli {

PromptSource::PromptSource(uint64_t seed, uint32_t vocab_size, std::vector<uint32_t> excluded,
                           bool shared_prefix_per_tenant)
    : seed_(seed),
      shared_prefix_per_tenant_(shared_prefix_per_tenant),
      excluded_(std::move(excluded)) {
  std::sort(excluded_.begin(), excluded_.end());
  excluded_.erase(std::unique(excluded_.begin(), excluded_.end()), excluded_.end());
  excluded_.erase(std::lower_bound(excluded_.begin(), excluded_.end(), vocab_size),
                  excluded_.end());
  allowed_ = vocab_size - static_cast<uint32_t>(excluded_.size());
  QUIRE_CHECK(allowed_ > 0) << "a vocabulary of " << vocab_size << " with nothing left in it";
}

std::vector<uint32_t> PromptSource::Make(uint64_t tenant, uint64_t request, int32_t prefix_tokens,
                                         int32_t own_tokens) const {
  std::vector<uint32_t> ids;
  ids.reserve(static_cast<size_t>(prefix_tokens) + static_cast<size_t>(own_tokens));
  Append(DeriveSeed(seed_, "prefix", shared_prefix_per_tenant_ ? tenant + 1 : 0), prefix_tokens,
         &ids);
  Append(DeriveSeed(DeriveSeed(seed_, "prompt", tenant), "request", request), own_tokens, &ids);
  return ids;
}

void PromptSource::Append(uint64_t seed, int32_t count, std::vector<uint32_t>* ids) const {
  std::mt19937_64 random(seed);
  for (int32_t i = 0; i < count; ++i) {
    // The high bits scaled to the range: far cheaper than a distribution, and as even as is needed.
    auto id = static_cast<uint32_t>(((random() >> 32) * allowed_) >> 32);
    for (uint32_t skipped : excluded_) id += skipped <= id ? 1 : 0;
    ids->push_back(id);
  }
}

}  // namespace quire::cli
