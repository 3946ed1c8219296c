#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/engine/engine.h"
#include "core/engine/engine_loop.h"
#include "core/engine/engine_options.h"
#include "core/engine/output_sink.h"
#include "core/kv/kv_layout.h"
#include "core/model/model_config.h"
#include "core/text/tokenizer.h"
#include "kernels/api/device.h"

namespace quire {

struct ModelEngineOptions {
  std::string model_dir;
  std::string model_name;        // empty: the directory's name
  std::string device = "auto";   // auto, cpu, cuda
  int32_t threads = 0;           // CPU threads; 0: all cores that the process may use
  bool batch_invariant = false;  // on a GPU, at the price of speed; the CPU always is
  int64_t kv_memory_bytes = 0;   // 0: chosen from the free memory and the limits below
  // A CPU's instruction set, as in kernels::DeviceOptions.
  std::string cpu_tier = "auto";
  // The most of a GPU's memory that a KV cache of chosen size takes, of what weights and
  // activations leave. The rest is for graphs, and for kernels that the driver loads with their
  // first use.
  double gpu_memory_fraction = 0.9;
  // Host memory for the KV of preempted requests: see SetUpSwap.
  std::optional<int64_t> swap_memory_bytes;
  bool prefix_cache = true;   // KV that was computed serves requests that begin the same
  int32_t block_tokens = 16;  // tokens a KV block: a multiple of 16 that divides 512
  std::optional<kernels::DType> compute_dtype;  // default: f32 for f32 checkpoints, else bf16
  kernels::WeightFormat weight_format = kernels::WeightFormat::kDense;
  // Of keys and values: what is computed in, which is the default, or fp8 where the device has it.
  std::optional<kernels::DType> kv_dtype;
  EngineOptions engine;
  // Called while weights load, with bytes done and bytes in all.
  std::function<void(int64_t done, int64_t total)> progress;
  // Called once, on the engine thread, after a device failure has ended every request.
  std::function<void()> on_device_failure;
};

// A model directory made ready to serve: device, weights, tokenizer, KV arena, runner, engine and
// its thread, wired together. Destroying it ends every live request first.
class ModelEngine {
 public:
  // `sink` and `clock` must outlive the result.
  static absl::StatusOr<std::unique_ptr<ModelEngine>> Create(const ModelEngineOptions& options,
                                                             OutputSink* sink, const Clock* clock);
  virtual ~ModelEngine() = default;

  virtual Engine& engine() = 0;
  virtual EngineLoop& loop() = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  // The same with text for special tokens, for requests that show them.
  virtual const Tokenizer& special_text_tokenizer() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual const KvLayouts& kv_layouts() const = 0;
  virtual const EngineOptions& options() const = 0;  // with everything derived filled in
  virtual int64_t weight_bytes() const = 0;
  // See EngineOptions::InFlightTokens.
  virtual int64_t in_flight_tokens() const = 0;
  // Not with window layers, even if it was asked for.
  virtual bool has_prefix_cache() const = 0;
  virtual std::string device_description() const = 0;
  // Host memory that KV is swapped to; 0 where it is not.
  virtual int64_t swap_memory_bytes() const = 0;
  // Why --device auto took the CPU; empty where it did not.
  virtual const std::string& why_no_gpu() const = 0;
};

}  // namespace quire
