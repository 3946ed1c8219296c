#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/model/batch_input.h"
#include "kernels/api/device.h"
#include "kernels/api/views.h"

namespace quire {

// Device memory for one step's input and sampled tokens, allocated once for the largest step. The
// uploads are enqueued: the BatchInput must stay untouched until the step has completed.
class StepBuffers {
 public:
  // `history` is how many ids all sampling rows of a step may point to.
  static absl::StatusOr<StepBuffers> Create(kernels::Device* device,
                                            const kernels::BatchCapacity& capacity,
                                            int32_t cache_classes, int64_t history);

  // A step beyond the capacity is a broken invariant.
  kernels::BatchView UploadBatch(const BatchInput& input, kernels::Device* device);
  void UploadSampling(const BatchInput& input, kernels::Device* device);

  const kernels::SamplingRow* sampling() const {
    return sampling_.as<const kernels::SamplingRow>();
  }
  const int32_t* history() const { return history_.as<const int32_t>(); }
  kernels::SampledToken* sampled() const { return sampled_.as<kernels::SampledToken>(); }
  size_t bytes() const;

 private:
  struct BlockTableBuffers {
    kernels::DeviceBuffer start;
    kernels::DeviceBuffer offsets;
  };

  StepBuffers() = default;

  kernels::BatchCapacity capacity_;
  kernels::DeviceBuffer counts_;
  kernels::DeviceBuffer token_ids_;
  kernels::DeviceBuffer positions_;
  kernels::DeviceBuffer q_start_;
  kernels::DeviceBuffer kv_len_;
  std::array<BlockTableBuffers, kernels::kMaxCacheClasses> tables_;
  int32_t num_classes_ = 0;
  kernels::DeviceBuffer logit_rows_;
  kernels::DeviceBuffer sampling_;
  kernels::DeviceBuffer history_;
  kernels::DeviceBuffer sampled_;
};

}  // namespace quire
