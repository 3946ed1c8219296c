#include "server/cli/fleet/simulated_runner.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace quire::cli {
namespace {

// Whatever the coefficients say, time goes on.
constexpr Duration kShortestStep = std::chrono::microseconds(1);

std::span<const uint32_t> TableOf(const BatchInput& input, size_t sequence) {
  const BlockTables& tables = input.tables[0];
  const auto begin = static_cast<size_t>(tables.start[sequence]);
  const auto end = static_cast<size_t>(tables.start[sequence + 1]);
  return std::span(tables.offsets).subspan(begin, end - begin);
}

int32_t CommonBlocks(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  const auto mismatch = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<int32_t>(mismatch.first - a.begin());
}

}  // namespace

StepWork WorkOf(const BatchInput& input, int32_t block_tokens) {
  StepWork work;
  absl::flat_hash_map<uint32_t, std::span<const uint32_t>> seen;  // tables, by their first block
  for (size_t s = 0; s < input.kv_len.size(); ++s) {
    const int32_t tokens = input.q_start[s + 1] - input.q_start[s];
    work.Add(input.kv_len[s] - tokens, tokens);
    if (tokens > 1) continue;
    const auto [known, is_new] = seen.try_emplace(TableOf(input, s)[0], TableOf(input, s));
    if (!is_new) work.shared_kv += CommonBlocks(known->second, TableOf(input, s)) * block_tokens;
  }
  return work;
}

absl::Status SimulatedRunner::LaunchForward(const BatchInput& input) {
  const Duration model = FromSeconds(times_->Seconds(WorkOf(input, block_tokens_)));
  duration_ = std::max(model + overhead_, kShortestStep);
  sampled_.assign(static_cast<size_t>(input.counts.logit_rows), {.token_id = 0});
  return absl::OkStatus();
}

absl::StatusOr<std::span<const kernels::SampledToken>> SimulatedRunner::Complete() {
  clock_->AdvanceTo(clock_->Now() + duration_);
  return std::span<const kernels::SampledToken>(sampled_);
}

}  // namespace quire::cli
