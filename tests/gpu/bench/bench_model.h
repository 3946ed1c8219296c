#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/kv/kv_layout.h"
#include "core/model/transformer_runner.h"
#include "core/model/weight_source.h"
#include "kernels/api/device.h"

namespace quire::bench {

// Weights of the right size: every matrix is a piece of one pool of random numbers, norms are ones.
// Not worth a word as a model, but made in a second.
class PooledSource final : public WeightSource {
 public:
  explicit PooledSource(size_t elements);
  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override;
  absl::Status CheckComplete() const override { return absl::OkStatus(); }

 private:
  std::vector<uint16_t> pool_;  // bf16
  std::vector<uint16_t> ones_;
};

// A model on the GPU through the runner that serves it, with KV for as many tokens as there is
// memory for. Failures end the program.
class BenchModel {
 public:
  static constexpr int32_t kMaxBatch = 256;
  static constexpr int32_t kMaxContext = 32768;

  // Null where the weights and a little KV do not fit. `kv_tokens`: more are not needed.
  static std::unique_ptr<BenchModel> Create(const ModelConfig& config, PooledSource* source,
                                            int64_t kv_tokens,
                                            kernels::DType kv = kernels::DType::kBF16);

  bool Fits(int32_t batch, int32_t context) const;

  struct Timing {
    double step_micros = 0;  // from one step's end to the next's, the next already launched
    double host_micros = 0;  // that launching a step keeps the host
    bool finite = true;
  };
  // Decode steps of `batch` sequences whose newest token makes `context`.
  Timing Decode(int32_t batch, int32_t context);

  // What a decode step has to read.
  double weight_bytes() const;
  double kv_bytes(int32_t batch, int32_t context) const;

 private:
  BenchModel(const ModelConfig& config, kernels::DType kv, std::unique_ptr<kernels::Device> device);
  void AllocateKv(int64_t kv_tokens);
  BatchInput MakeInput(int32_t batch, int32_t context) const;
  void Complete(Timing* timing);

  const ModelConfig config_;
  const KvLayout layout_;
  const std::unique_ptr<kernels::Device> device_;
  kernels::DeviceBuffer arena_;
  std::vector<uint32_t> blocks_;  // of the arena, in units, in random order
  std::unique_ptr<TransformerRunner> runner_;
};

}  // namespace quire::bench
