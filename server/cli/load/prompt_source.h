#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quire::cli {

// Makes prompts of token ids out of a seed. Stateless after construction; any thread.
class PromptSource {
 public:
  // Ids are in [0, vocab_size), without `excluded` (such as end tokens), which must leave some.
  // With `shared_prefix_per_tenant` tenants begin their prompts differently, else all alike.
  PromptSource(uint64_t seed, uint32_t vocab_size, std::vector<uint32_t> excluded,
               bool shared_prefix_per_tenant);

  // `prefix_tokens` that the tenant's prompts share, then `own_tokens` that only this one has.
  std::vector<uint32_t> Make(uint64_t tenant, uint64_t request, int32_t prefix_tokens,
                             int32_t own_tokens) const;

 private:
  void Append(uint64_t seed, int32_t count, std::vector<uint32_t>* ids) const;

  uint64_t seed_;
  bool shared_prefix_per_tenant_;
  std::vector<uint32_t> excluded_;  // rising
  uint32_t allowed_;                // ids that are not excluded
};

}  // namespace quire::cli
