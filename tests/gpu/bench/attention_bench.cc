#include <initializer_list>

#include "tests/gpu/bench/attention_problem.h"
#include "tests/gpu/bench/bench.h"

namespace quire::bench {
namespace {

constexpr double kWorstError = 0.02;  // BF16 leaves a few thousandths

struct Heads {
  int32_t heads, groups, head_dim;
};
constexpr Heads kHeads[] = {{32, 32, 128}, {32, 8, 128}, {64, 8, 128}, {32, 1, 128},
                            {32, 8, 64},   {32, 8, 80},  {16, 8, 256}};

// NaN is wrong too.
Cell Verdict(double error) {
  return error <= kWorstError ? Cell(error, 4) : Cell("WRONG " + Cell(error, 4).text);
}

struct Timing {
  double micros = 0;
  double error = 0;
};

Timing Measure(const AttentionCase& shape, cudaStream_t stream) {
  const AttentionProblem problem(shape, stream);
  const double error = problem.Error();
  return {GraphMicros(stream, problem.layers(), [&](int layer) { problem.Enqueue(layer); }), error};
}

void DecodeRow(Bench* bench, const AttentionCase& shape) {
  if (!bench->report->HasTime()) return;
  const double bytes = shape.KvBytes();
  std::vector<Cell> row = {shape.heads, shape.groups,  shape.head_dim,
                           shape.batch, shape.context, Cell(bytes / 1e6, 1)};
  if (AttentionProblem::Fits(shape)) {
    const Timing timing = Measure(shape, bench->stream);
    const double rate = bytes / timing.micros * 1e6;
    row.insert(row.end(), {Cell(timing.micros, 1), Cell(rate / 1e9, 0),
                           Cell(rate / bench->copy_bytes_per_second, 3), Verdict(timing.error)});
  } else {
    row.emplace_back("no room");
  }
  bench->report->Row(row);
}

}  // namespace

void MeasureDecodeAttention(Bench* bench) {
  const std::initializer_list<const char*> columns = {
      "heads", "groups", "head_dim", "batch", "context", "KV MB", "us", "GB/s", "of copy", "error"};
  bench->report->BeginTable("Decode attention of a layer, BF16: KV read over copy", columns);
  for (const Heads& h : kHeads) {
    for (int32_t batch : {1, 8, 32, 128}) {
      for (int32_t context : {256, 1024, 4096, 16384, 32768}) {
        DecodeRow(bench, {batch, context, 1, h.heads, h.groups, h.head_dim});
      }
    }
  }
  bench->report->BeginTable("Decode attention of a layer, FP8 KV: KV read over copy", columns);
  for (const Heads& h : kHeads) {
    for (int32_t batch : {1, 32, 128}) {
      for (int32_t context : {1024, 4096, 16384}) {
        DecodeRow(bench, {batch, context, 1, h.heads, h.groups, h.head_dim, true});
      }
    }
  }
}

void MeasurePrefillAttention(Bench* bench) {
  Report& report = *bench->report;
  report.BeginTable(
      "Prefill attention of a layer, BF16, one sequence: rate over GEMM",
      {"heads", "groups", "head_dim", "queries", "context", "us", "TFLOP/s", "of GEMM", "error"});
  struct Lengths {
    int32_t queries, context;
  };
  constexpr Lengths kLengths[] = {{512, 512},     {2048, 2048}, {8192, 8192},
                                  {32768, 32768}, {512, 8192},  {2048, 32768}};
  for (const Heads& h : {Heads{32, 8, 128}, {32, 32, 128}, {32, 8, 64}, {16, 8, 256}}) {
    for (const Lengths& lengths : kLengths) {
      if (!report.HasTime()) continue;
      const AttentionCase shape{1, lengths.context, lengths.queries, h.heads, h.groups, h.head_dim};
      const Timing timing = Measure(shape, bench->stream);
      const double rate = shape.Flops() / timing.micros * 1e6;
      report.Row({h.heads, h.groups, h.head_dim, lengths.queries, lengths.context,
                  Cell(timing.micros, 1), Cell(rate / 1e12, 1), Cell(rate / bench->gemm_flops, 3),
                  Verdict(timing.error)});
    }
  }
}

}  // namespace quire::bench
