#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/cli/bench_model.h"
#include "server/cli/bench_report.h"

namespace quire::cli {

// What a model with such KV blocks must hold for it.
BenchSizes LoadSizes(const LoadOptions& options, int64_t block_bytes);

// Serves the load with the server's engine and scheduler, on this thread, without a prefix cache.
// The model's layers have no windows. InvalidArgument where not even one request fits the cache.
absl::StatusOr<LoadResult> MeasureLoad(BenchModel* model, const LoadOptions& options);

}  // namespace quire::cli
