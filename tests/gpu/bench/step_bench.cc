#include <initializer_list>
#include <span>
#include <vector>

#include "core/base/check.h"
#include "tests/gpu/bench/bench.h"
#include "tests/gpu/bench/bench_model.h"

namespace quire::bench {
namespace {

constexpr int32_t kBatches[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};
constexpr int32_t kFp8Batches[] = {1, 8, 32, 128, 256};
constexpr int32_t kContexts[] = {1024, 4096, 16384, 32768};
constexpr int32_t kDial[] = {32, 16, 8, 4, 2, 1};
constexpr int64_t kAllThatFits = int64_t{1} << 30;  // tokens
constexpr int32_t kDialBatch = 32;
constexpr int32_t kDialContext = 4096;

ModelConfig Llama(int32_t kv_groups) {
  auto config = NamedModelShape("llama-3.1-8b");
  QUIRE_CHECK(config.ok()) << config.status().ToString();
  config->kv_groups.assign(config->kv_groups.size(), kv_groups);
  return *config;
}

void AddRow(Bench* bench, int32_t groups, int32_t batch, int32_t context, BenchModel* model) {
  std::vector<Cell> row = {groups, batch, context};
  if (model == nullptr || !model->Fits(batch, context)) {
    row.emplace_back("no room");
    return bench->report->Row(row);
  }
  const double bytes = model->weight_bytes() + model->kv_bytes(batch, context);
  const double roofline = 1e6 * bytes / bench->copy_bytes_per_second;
  const BenchModel::Timing timing = model->Decode(batch, context);
  row.insert(
      row.end(),
      {Cell(model->kv_bytes(batch, context) / 1e9, 2), Cell(timing.step_micros / 1e3, 3),
       Cell(roofline / 1e3, 3), Cell(timing.step_micros / roofline, 3), Cell(timing.host_micros, 0),
       Cell(batch * 1e6 / timing.step_micros, 0), timing.finite ? "" : "NOT FINITE"});
  bench->report->Row(row);
}

// Of llama-3.1-8b, with all the KV that fits.
void MeasureContexts(Bench* bench, PooledSource* source, kernels::DType kv,
                     std::span<const int32_t> batches) {
  const auto model = BenchModel::Create(Llama(8), source, kAllThatFits, kv);
  for (int32_t context : kContexts) {
    for (int32_t batch : batches) {
      if (bench->report->HasTime()) AddRow(bench, 8, batch, context, model.get());
    }
  }
}

}  // namespace

void MeasureSteps(Bench* bench) {
  Report& report = *bench->report;
  if (!report.HasTime()) return;
  const ModelConfig config = Llama(8);
  PooledSource source(static_cast<size_t>(config.vocab_size) *
                      static_cast<size_t>(config.hidden_size));
  const std::initializer_list<const char*> columns = {
      "groups",      "batch", "context", "KV GB",    "ms",
      "roofline ms", "ratio", "host us", "tokens/s", ""};
  report.BeginTable(
      "Decode steps of llama-3.1-8b, BF16, random weights: over (weights + KV) / copy", columns);
  MeasureContexts(bench, &source, kernels::DType::kBF16, kBatches);
  report.BeginTable("The dial: KV groups of the same model at batch 32, context 4096", columns);
  for (int32_t groups : kDial) {
    if (!report.HasTime()) continue;
    const auto model =
        BenchModel::Create(Llama(groups), &source, int64_t{kDialBatch} * kDialContext);
    AddRow(bench, groups, kDialBatch, kDialContext, model.get());
  }
  if (!report.HasTime()) return;
  report.BeginTable("Decode steps of llama-3.1-8b with FP8 KV", columns);
  MeasureContexts(bench, &source, kernels::DType::kF8E4M3, kFp8Batches);
}

}  // namespace quire::bench
