#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "core/model/batch_input.h"
#include "kernels/api/device.h"
#include "kernels/api/views.h"

namespace quire {

// How much the sampling rows of a step may point to, besides their history, and may report.
struct SamplingCapacity {
  int64_t edits = 0;         // changes of logits, of all rows together
  int64_t allowed = 0;       // allowed ids, of all rows together
  int32_t alternatives = 0;  // alternatives reported for a row
};

// Device memory for one step's input and sampled tokens, allocated once for the largest step. The
// uploads are enqueued: the BatchInput must stay untouched until the step has completed.
class StepBuffers {
 public:
  // `history` is how many ids all sampling rows of a step may point to.
  static absl::StatusOr<StepBuffers> Create(kernels::Device* device,
                                            const kernels::BatchCapacity& capacity,
                                            int32_t cache_classes, int64_t history,
                                            const SamplingCapacity& sampling = {});

  // A step beyond the capacity is a broken invariant.
  kernels::BatchView UploadBatch(const BatchInput& input, kernels::Device* device);
  void UploadSampling(const BatchInput& input, kernels::Device* device);

  const kernels::SamplingRow* sampling() const {
    return sampling_.as<const kernels::SamplingRow>();
  }
  const int32_t* history() const { return history_.as<const int32_t>(); }
  const kernels::LogitEdit* edits() const { return edits_.as<const kernels::LogitEdit>(); }
  const int32_t* allowed() const { return allowed_.as<const int32_t>(); }
  kernels::SampledToken* sampled() const { return sampled_.as<kernels::SampledToken>(); }
  // [logit rows, max_alternatives()]
  kernels::TokenLogprob* alternatives() const { return alternatives_.as<kernels::TokenLogprob>(); }
  int32_t max_alternatives() const { return max_alternatives_; }
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
  kernels::DeviceBuffer edits_;
  kernels::DeviceBuffer allowed_;
  kernels::DeviceBuffer sampled_;
  kernels::DeviceBuffer alternatives_;
  int32_t max_alternatives_ = 0;
};

}  // namespace quire
