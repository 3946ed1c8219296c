#include "server/cli/bench_measure.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <vector>

#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace quire::cli {
namespace {

// Times `run`, which steps the model, as often as asked, after one run that warms caches and page
// tables.
absl::Status Time(BenchModel* model, int32_t repeat, const std::function<absl::Status()>& run,
                  BenchResult* result) {
  QUIRE_RETURN_IF_ERROR(run());
  model->TakeOpTimes();
  const SteadyClock clock;
  std::vector<double> seconds;
  for (int32_t i = 0; i < repeat; ++i) {
    const TimePoint start = clock.Now();
    QUIRE_RETURN_IF_ERROR(run());
    seconds.push_back(ToSeconds(clock.Now() - start));
  }
  result->times = Summarize(std::move(seconds));
  result->ops = model->TakeOpTimes();
  for (OpTime& op : result->ops) op = op.PerRun(repeat);
  return absl::OkStatus();
}

}  // namespace

BenchSizes LargestStep(const std::vector<int32_t>& batches, const std::vector<int32_t>& contexts,
                       const std::vector<int32_t>& prompts, int32_t chunk, int32_t block_tokens) {
  BenchSizes sizes;
  sizes.sequences = *std::max_element(batches.begin(), batches.end());
  sizes.step_tokens = std::max(chunk, sizes.sequences);
  const int32_t context = *std::max_element(contexts.begin(), contexts.end());
  const int32_t prompt = *std::max_element(prompts.begin(), prompts.end());
  sizes.context = std::max(context, prompt);
  const auto blocks = [&](int64_t tokens) { return (tokens + block_tokens - 1) / block_tokens; };
  sizes.kv_blocks = std::max(sizes.sequences * blocks(context), blocks(prompt));
  return sizes;
}

LoadProgress ShowLoadProgress() {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  auto shown = std::make_shared<int64_t>(-1);
  return [terminal, shown](int64_t done, int64_t total) {
    const int64_t percent = total == 0 ? 100 : done * 100 / total;
    const int64_t step = terminal ? 1 : 25;
    if (percent / step == *shown) return;
    *shown = percent / step;
    std::cerr << (terminal ? "\r" : "") << "loading weights: " << percent << "%"
              << (terminal && percent < 100 ? "" : "\n") << std::flush;
  };
}

absl::StatusOr<BenchResult> MeasurePrefill(BenchModel* model, int32_t prompt, int32_t chunk,
                                           int32_t repeat) {
  std::vector<BenchRow> steps;
  BenchResult result{.batch = 1, .context = prompt, .chunk = chunk, .tokens = prompt};
  for (int32_t start = 0; start < prompt; start += chunk) {
    const int32_t tokens = std::min(chunk, prompt - start);
    steps.push_back({.start = start, .tokens = tokens, .sample = start + tokens == prompt});
    const StepCost cost = model->CostOf({&steps.back(), 1});
    result.flops += cost.flops;
    result.bytes += cost.bytes;
  }
  const auto run = [&] {
    for (const BenchRow& step : steps) QUIRE_RETURN_IF_ERROR(model->RunStep({&step, 1}));
    return absl::OkStatus();
  };
  QUIRE_RETURN_IF_ERROR(Time(model, repeat, run, &result));
  return result;
}

absl::StatusOr<BenchResult> MeasureDecode(BenchModel* model, int32_t batch, int32_t context,
                                          int32_t repeat) {
  const std::vector<BenchRow> rows(static_cast<size_t>(batch),
                                   {.start = context - 1, .tokens = 1, .sample = true});
  const StepCost cost = model->CostOf(rows);
  BenchResult result{.batch = batch,
                     .context = context,
                     .tokens = batch,
                     .flops = cost.flops,
                     .bytes = cost.bytes};
  QUIRE_RETURN_IF_ERROR(Time(
      model, repeat, [&] { return model->RunStep(rows); }, &result));
  return result;
}

}  // namespace quire::cli
