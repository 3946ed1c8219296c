#include "server/cli/bench_step_time.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/capacity/capacity_planner.h"
#include "core/capacity/model_kv_layout.h"
#include "core/model/device_memory.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_measure.h"

namespace quire::cli {
namespace {

constexpr int64_t kLeastWeightBytes = int64_t{192} << 20;  // more than caches hold
constexpr int64_t kMostKvBytes = int64_t{256} << 20;
constexpr int32_t kShortContext = 16;
constexpr int32_t kLeastVocab = 64;
constexpr int kRepeat = 7;

// Tokens of context that the measurement can afford: of `batch` sequences in few layers.
int32_t AffordableContext(const KvLayout& layout, int32_t batch, int32_t longest) {
  const auto token_bytes = static_cast<int64_t>(layout.TokenBytes());
  const int64_t tokens = kMostKvBytes / (token_bytes * batch);
  return static_cast<int32_t>(std::clamp<int64_t>(tokens, kShortContext + 1, longest));
}

}  // namespace

absl::StatusOr<StepDevice> FindStepDevice(const BenchModelOptions& options,
                                          const ModelConfig& model) {
  std::unique_ptr<kernels::Device> device;
  QUIRE_RETURN_IF_ERROR(FromDevice(
      kernels::CreateDevice({.kind = options.device, .threads = options.threads}, &device),
      "creating the device"));
  return StepDevice{.description = device->Description(),
                    .compute = device->DefaultCompute(model.checkpoint_dtype),
                    .narrow_kv = device->NarrowKv()};
}

absl::StatusOr<DecodeStepPredictor> DecodeStepPredictor::Create(const ModelConfig& model,
                                                                const BenchModelOptions& options,
                                                                int32_t longest_context) {
  const bool no_attention = std::any_of(model.kv_groups.begin(), model.kv_groups.end(),
                                        [](int32_t groups) { return groups == 0; });
  if (no_attention || !model.layer_heads.empty() || !model.layer_intermediate_sizes.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        "the layers of ", model.name, " differ in more than groups and windows: how long a step ",
        "takes cannot be told from a few of them"));
  }
  if (model.max_positions < 2 * kShortContext) {
    return absl::UnimplementedError(absl::StrCat("contexts of ", model.max_positions,
                                                 " tokens are too short to tell what KV costs"));
  }
  if (longest_context < 1 || longest_context > model.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("a context of ", longest_context,
                                                   " tokens: choose 1 to ", model.max_positions));
  }
  return DecodeStepPredictor(model, options, longest_context);
}

DecodeStepPredictor::DecodeStepPredictor(ModelConfig model, const BenchModelOptions& options,
                                         int32_t longest_context)
    : model_(std::move(model)), options_(options), longest_context_(longest_context) {
  if (options_.threads == 0) options_.threads = kernels::UsableCores();
  const int64_t bytes =
      WeightBytes(model_, options_.compute.value_or(model_.DefaultComputeType()), options_.weights);
  const int64_t least = (kLeastWeightBytes * model_.num_layers + bytes - 1) / bytes;
  layers_ = static_cast<int32_t>(std::clamp<int64_t>(least, 1, model_.num_layers));
}

absl::StatusOr<DecodeStepPredictor::StepTime> DecodeStepPredictor::Measure(int32_t kv_groups,
                                                                           int32_t batch) const {
  ModelConfig part = model_;
  part.num_layers = layers_;
  part.kv_groups.assign(static_cast<size_t>(layers_), kv_groups);
  part.windows.clear();
  part.window_rope.reset();
  if (!part.layer_rotates.empty()) part.layer_rotates.resize(static_cast<size_t>(layers_));
  part.vocab_size = std::max(
      kLeastVocab, static_cast<int32_t>(int64_t{model_.vocab_size} * layers_ / model_.num_layers));
  BenchModelOptions options = options_;
  const kernels::DType compute = options.compute.value_or(part.DefaultComputeType());
  const KvLayout layout = MakeKvLayout(part, options.block_tokens, options.kv.value_or(compute));
  const int32_t context =
      AffordableContext(layout, batch, std::max(longest_context_, 2 * kShortContext));
  BenchSizes sizes;
  sizes.sequences = sizes.step_tokens = batch;
  sizes.context = context;
  sizes.kv_blocks = int64_t{batch} * layout.BlocksFor(context);
  options.kv_limit_bytes = sizes.kv_blocks * static_cast<int64_t>(layout.BlockBytes());
  QUIRE_ASSIGN_OR_RETURN(const auto model, BenchModel::Create(options, part, sizes, nullptr));
  QUIRE_ASSIGN_OR_RETURN(const BenchResult short_step,
                         MeasureDecode(model.get(), batch, kShortContext, kRepeat));
  QUIRE_ASSIGN_OR_RETURN(const BenchResult long_step,
                         MeasureDecode(model.get(), batch, context, kRepeat));
  // The fastest of the runs, as other work on the machine only ever slows one down.
  const double brief = short_step.times.min_seconds, full = long_step.times.min_seconds;
  const double depth = static_cast<double>(model_.num_layers) / layers_;
  StepTime time;
  time.per_token = std::max(full - brief, 0.0) * depth / (context - kShortContext);
  time.start = std::max(brief * depth - time.per_token * kShortContext, 0.0);
  return time;
}

absl::StatusOr<double> DecodeStepPredictor::Seconds(const std::vector<int32_t>& kv_groups,
                                                    int32_t batch, int32_t context) {
  double seconds = 0;
  for (int32_t l = 0; l < model_.num_layers; ++l) {
    const int32_t groups = kv_groups[static_cast<size_t>(l)];
    auto [it, inserted] = measured_.try_emplace({groups, batch});
    if (inserted) {
      absl::StatusOr<StepTime> time = Measure(groups, batch);
      if (!time.ok()) {
        measured_.erase(it);
        return time.status();
      }
      it->second = *time;
    }
    const int32_t window = model_.Layer(l).window;
    const int32_t seen = window > 0 ? std::min(context, window) : context;
    seconds += (it->second.start + it->second.per_token * seen) / model_.num_layers;
  }
  return seconds;
}

}  // namespace quire::cli
