#pragma once

#include "absl/status/statusor.h"
#include "core/model/model_config.h"
#include "kernels/api/device.h"
#include "kernels/api/views.h"

namespace quire {

// What the layers pass on to each other: one set, reused by every layer and every step, since the
// device runs its work in order. T and R are the capacities; "act" is f32 or bf16; layers that are
// smaller than the largest use the front of a row's place, with rows of their own width.
struct ForwardWorkspace {
  kernels::DeviceBuffer residual;  // f32 [T, hidden]
  kernels::DeviceBuffer normed;    // act [T, hidden]
  kernels::DeviceBuffer qkv;       // f32 [T, (H + 2G) * D]
  kernels::DeviceBuffer q;         // act [T, H, D]
  kernels::DeviceBuffer attended;  // act [T, H, D]
  kernels::DeviceBuffer gate_up;   // f32 [T, 2 * intermediate]
  kernels::DeviceBuffer gated;     // act [T, intermediate]
  kernels::DeviceBuffer block;     // f32 [T, hidden], before a post norm; empty without them
  kernels::DeviceBuffer last;      // act [R, hidden]
  kernels::DeviceBuffer logits;    // f32 [R, vocab]

  static absl::StatusOr<ForwardWorkspace> Create(kernels::Device* device, const ModelConfig& config,
                                                 const kernels::BatchCapacity& capacity,
                                                 kernels::DType act);
  size_t bytes() const;
};

}  // namespace quire
