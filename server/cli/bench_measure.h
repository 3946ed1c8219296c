#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/cli/bench_model.h"
#include "server/cli/bench_report.h"

// What benchmarks time: whole prompts, and decode steps. `repeat` runs after one that warms caches
// and page tables.

namespace quire::cli {

// What a model must hold for all of these; none of the lists is empty.
BenchSizes LargestStep(const std::vector<int32_t>& batches, const std::vector<int32_t>& contexts,
                       const std::vector<int32_t>& prompts, int32_t chunk, int32_t block_tokens);

// A prompt of `prompt` tokens in steps of at most `chunk`.
absl::StatusOr<BenchResult> MeasurePrefill(BenchModel* model, int32_t prompt, int32_t chunk,
                                           int32_t repeat);

// A step of `batch` sequences with `context` tokens of KV each.
absl::StatusOr<BenchResult> MeasureDecode(BenchModel* model, int32_t batch, int32_t context,
                                          int32_t repeat);

// Says on standard error how far the weights are, often enough on a terminal and seldom in a log.
LoadProgress ShowLoadProgress();

}  // namespace quire::cli
