#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/model/model_runner.h"
#include "tests/support/fake_sampling.h"
#include "tests/support/fake_swap_device.h"

namespace quire::testing {

// A model whose KV describes itself. A cell holds the position, the token and a hash of the whole
// prefix up to it; "attention" walks every cell a row may read and reports the first one that is
// not what the sequence must have written there; the next token is a function of the prefix hash.
// So an aliased block, a stale table, a skipped position or a wrong feedback shows at once, and a
// test can predict every token with ExpectedToken(). Every cache class holds all cells; in one with
// a window, cells behind it are not looked at, and what is seen must agree with the other classes.
// Sampling rules count too: a row draws nothing that its edits or allowed ids exclude, and
// penalties mix the history it was given into the draw, a seed the token's index.
//
// With depth 1 a step is computed when it is completed, as on a device that runs behind the host,
// and a launch that names a block which an unfinished step of another sequence still uses is
// reported, unless both but read it.
class FakeModelRunner final : public ModelRunner {
 public:
  using Options = FakeModelOptions;

  // With a device its KV is in that device's memory, from `arena` on, and its steps are places in
  // the stream of work.
  explicit FakeModelRunner(const Options& options, FakeSwapDevice* device = nullptr,
                           std::byte* arena = nullptr)
      : options_(options), device_(device), arena_(arena) {}

  int in_flight_depth() const override { return options_.depth; }
  absl::Status LaunchForward(const BatchInput& input) override;
  absl::Status LaunchSample(const BatchInput& input) override;
  absl::StatusOr<std::span<const kernels::SampledToken>> Complete() override;
  std::span<const kernels::TokenLogprob> Alternatives(int32_t row) const override {
    return alternatives_.at(static_cast<size_t>(row));
  }
  RunnerMemory memory() const override { return {.weights = 1, .workspace = 2, .graphs = 3}; }

  const std::vector<std::string>& violations() const { return violations_; }
  int64_t max_step_tokens_seen() const { return max_step_tokens_seen_; }
  int64_t max_logit_rows_seen() const { return max_logit_rows_seen_; }

 private:
  struct Cell {
    int32_t position = -1;
    TokenId token = -1;
    uint64_t prefix_hash = 0;
  };
  struct Launched {
    BatchInput input;
    bool sampled = false;
  };

  // Who names a stretch of the arena in a step.
  struct Owner {
    uint32_t end = 0;
    size_t cache_class = 0;
    size_t sequence = 0;
    bool written = false;
  };
  using Owners = std::map<uint32_t, Owner>;  // by the start of the stretch

  absl::Status Fail(const char* message);
  kernels::SampledToken Sample(const BatchInput& input, const kernels::SamplingRow& row,
                               uint64_t prefix_hash) const;
  Owners OwnersOf(const BatchInput& input);
  void CheckAliasing(const BatchInput& input);
  Cell& CellAt(const BatchInput& input, size_t cache_class, size_t sequence, int32_t position);
  uint64_t ReadPrefix(const BatchInput& input, size_t cache_class, size_t sequence, int32_t end);
  void RunSequence(const BatchInput& input, size_t sequence);
  void Violation(std::string text);

  const Options options_;
  FakeSwapDevice* const device_;
  std::byte* const arena_;
  std::map<std::pair<uint32_t, int32_t>, Cell> cells_;  // by block offset and slot
  std::deque<Launched> launched_;
  std::vector<uint64_t> hashes_;  // of the prefix up to each query token of a step
  std::vector<kernels::SampledToken> previous_, result_;
  std::vector<std::vector<kernels::TokenLogprob>> alternatives_;
  std::vector<std::string> violations_;
  int64_t launches_ = 0, completions_ = 0;
  int64_t max_step_tokens_seen_ = 0;
  int64_t max_logit_rows_seen_ = 0;
};

}  // namespace quire::testing
