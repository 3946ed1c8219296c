#include "server/cli/bench_fleet_fit.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/capacity/model_kv_layout.h"
#include "server/cli/bench_measure.h"

namespace quire::cli {
namespace {

constexpr int32_t kShortContext = 16;
constexpr int32_t kMostDecodeRows = 64;  // more cost as much more as half as many
constexpr int32_t kLeastRounds = 2;

int32_t BlocksOf(const StepRows& rows, const KvLayout& layout) {
  int32_t blocks = 0;
  for (const BenchRow& row : rows) blocks += layout.BlocksFor(row.start + row.tokens);
  return blocks;
}

// From `least`, each twice the one before, up to `most`, which is the last.
std::vector<int32_t> Doubling(int32_t least, int32_t most) {
  std::vector<int32_t> sizes;
  for (int32_t size = least; size < most; size *= 2) sizes.push_back(size);
  sizes.push_back(most);
  return sizes;
}

StepRows DecodeRows(int32_t batch, int32_t context) {
  return StepRows(static_cast<size_t>(batch), {.start = context - 1, .tokens = 1, .sample = true});
}

// The mean: what disturbs a step here disturbs a server's as well.
StepSample SampleOf(const StepRows& rows, const std::vector<double>& seconds) {
  StepSample sample;
  for (const BenchRow& row : rows) sample.work.Add(row.start, row.tokens);
  sample.seconds =
      std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
  return sample;
}

BenchSizes SizesOf(const std::vector<StepRows>& steps, const FitOptions& options,
                   const KvLayout& layout) {
  BenchSizes sizes;
  sizes.context = options.longest_context;
  for (const StepRows& rows : steps) {
    int32_t tokens = 0;
    for (const BenchRow& row : rows) tokens += row.tokens;
    sizes.sequences = std::max(sizes.sequences, static_cast<int32_t>(rows.size()));
    sizes.step_tokens = std::max(sizes.step_tokens, tokens);
    sizes.kv_blocks = std::max<int64_t>(sizes.kv_blocks, BlocksOf(rows, layout));
  }
  return sizes;
}

// A step that comes after one of another kind finds other things in the caches. In serving a
// prompt's chunk always does. Of steps with R decode rows one does for each answer that began, one
// of so many tokens: the others come after one like them. So many are run in a row, and count with
// their mean.
int RunsOf(const StepRows& rows) {
  constexpr int kAnswerTokens = 64, kMostRuns = 16;
  if (rows.back().tokens > 1) return 1;
  return std::clamp(kAnswerTokens / static_cast<int>(rows.size()), 1, kMostRuns);
}

// In shuffled turns.
absl::StatusOr<std::vector<std::vector<double>>> TimeInTurns(BenchModel* model,
                                                             const std::vector<StepRows>& steps,
                                                             double enough) {
  constexpr uint64_t kSeed = 1;
  const SteadyClock clock;
  std::vector<size_t> turns(steps.size());
  std::iota(turns.begin(), turns.end(), size_t{0});
  std::mt19937_64 random(kSeed);
  std::vector<std::vector<double>> seconds(steps.size());
  for (const StepRows& rows : steps) QUIRE_RETURN_IF_ERROR(model->RunStep(rows));  // warms up
  const TimePoint begin = clock.Now();
  for (int32_t round = 0; round < kLeastRounds || ToSeconds(clock.Now() - begin) < enough;
       ++round) {
    std::shuffle(turns.begin(), turns.end(), random);
    for (const size_t turn : turns) {
      const TimePoint start = clock.Now();
      const int runs = RunsOf(steps[turn]);
      for (int run = 0; run < runs; ++run) QUIRE_RETURN_IF_ERROR(model->RunStep(steps[turn]));
      seconds[turn].push_back(ToSeconds(clock.Now() - start) / runs);
    }
  }
  return seconds;
}

}  // namespace

std::vector<StepRows> StepsToFit(const FitOptions& options, const KvLayout& layout) {
  const int32_t longest = options.longest_context;
  const int32_t rows = std::min(options.max_running, kMostDecodeRows);
  const int32_t chunk = std::min(options.max_step_tokens, longest);
  std::vector<StepRows> steps;
  for (const int32_t context :
       {std::min(kShortContext, longest), (longest + 3) / 4, (longest + 1) / 2, longest}) {
    for (const int32_t batch : Doubling(1, rows)) steps.push_back(DecodeRows(batch, context));
  }
  for (const int32_t tokens : Doubling(std::min(2, chunk), chunk)) {
    for (const int32_t start : {0, (longest - tokens) / 2, longest - tokens}) {
      steps.push_back({{.start = start, .tokens = tokens, .sample = true}});
    }
  }
  // A chunk beside decode rows gets what these leave of the step.
  for (const int32_t batch : {rows / 4, rows}) {
    const int32_t tokens = std::min(chunk, options.max_step_tokens - batch);
    if (batch < 1 || tokens < 2) continue;
    for (const int32_t context : {(longest + 1) / 2, longest}) {
      StepRows& mixed = steps.emplace_back(DecodeRows(batch, context));
      mixed.push_back({.start = 0, .tokens = tokens, .sample = true});
    }
  }
  std::erase_if(steps, [&](const StepRows& step) {
    return BlocksOf(step, layout) * static_cast<int64_t>(layout.BlockBytes()) > options.kv_bytes;
  });
  return steps;
}

absl::StatusOr<MeasuredStepTimes> MeasureStepTimes(const FitOptions& options,
                                                   const ModelConfig& config) {
  const kernels::DType compute = options.model.compute.value_or(config.DefaultComputeType());
  const KvLayout layout =
      MakeKvLayout(config, options.model.block_tokens, options.model.kv.value_or(compute));
  const std::vector<StepRows> steps = StepsToFit(options, layout);
  if (steps.empty()) {
    return absl::InvalidArgumentError("the KV cache is too small for a step to measure");
  }
  BenchModelOptions model_options = options.model;
  model_options.kv_limit_bytes = options.kv_bytes;
  QUIRE_ASSIGN_OR_RETURN(const auto model,
                         BenchModel::Create(model_options, config, SizesOf(steps, options, layout),
                                            ShowLoadProgress()));
  QUIRE_ASSIGN_OR_RETURN(const auto seconds, TimeInTurns(model.get(), steps, options.seconds));
  MeasuredStepTimes measured;
  for (size_t s = 0; s < steps.size(); ++s) {
    measured.samples.push_back(SampleOf(steps[s], seconds[s]));
  }
  measured.times = FitStepTimes(measured.samples);
  measured.error = ErrorOf(measured.times, measured.samples);
  measured.steps = steps.size();
  measured.rounds = static_cast<int32_t>(seconds[0].size());
  measured.device = model->device_description();
  measured.compute_dtype = kernels::DTypeName(model->compute());
  return measured;
}

}  // namespace quire::cli
