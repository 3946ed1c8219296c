#include "core/model/forward_workspace.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {

namespace {

size_t WidestQkv(const ModelConfig& config) {
  int64_t widest = 0;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerShape shape = config.Layer(layer);
    widest = std::max<int64_t>(widest, shape.num_heads + 2 * int64_t{shape.kv_groups});
  }
  return static_cast<size_t>(widest * config.head_dim);
}

}  // namespace

absl::StatusOr<ForwardWorkspace> ForwardWorkspace::Create(kernels::Device* device,
                                                          const ModelConfig& config,
                                                          const kernels::BatchCapacity& capacity,
                                                          kernels::DType act) {
  const auto tokens = static_cast<size_t>(capacity.tokens);
  const auto rows = static_cast<size_t>(capacity.logit_rows);
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto inter = static_cast<size_t>(config.intermediate_size);
  const auto q_width = static_cast<size_t>(config.num_heads) * static_cast<size_t>(config.head_dim);
  const size_t act_bytes = kernels::DTypeBytes(act);

  ForwardWorkspace w;
  const struct {
    kernels::DeviceBuffer* buffer;
    size_t bytes;
  } parts[] = {
      {&w.residual, tokens * hidden * sizeof(float)},
      {&w.normed, tokens * hidden * act_bytes},
      {&w.qkv, tokens * WidestQkv(config) * sizeof(float)},
      {&w.q, tokens * q_width * act_bytes},
      {&w.attended, tokens * q_width * act_bytes},
      {&w.gate_up, tokens * 2 * inter * sizeof(float)},
      {&w.gated, tokens * inter * act_bytes},
      {&w.block, config.post_norms ? tokens * hidden * sizeof(float) : 0},
      {&w.last, rows * hidden * act_bytes},
      {&w.logits, rows * static_cast<size_t>(config.vocab_size) * sizeof(float)},
  };
  for (const auto& part : parts) {
    if (part.bytes == 0) continue;
    QUIRE_ASSIGN_OR_RETURN(*part.buffer, AllocateOnDevice(device, part.bytes, "activations"));
  }
  return w;
}

size_t ForwardWorkspace::bytes() const {
  return residual.bytes() + normed.bytes() + qkv.bytes() + q.bytes() + attended.bytes() +
         gate_up.bytes() + gated.bytes() + block.bytes() + last.bytes() + logits.bytes();
}

}  // namespace quire
