#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

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

// A step's sampling rows and what they point into; device memory.
struct SamplingView {
  const kernels::SamplingRow* rows = nullptr;
  const int32_t* history = nullptr;
  const kernels::LogitEdit* edits = nullptr;
  const int32_t* allowed = nullptr;
};

// Memory for one step's input and sampled tokens, allocated once for the largest step: on the
// device, and as much on the host in which everything has the same place and through which it is
// copied. What was given to an upload may change when it returns, but the next step may be uploaded
// only when this one has completed. Batches of one capacity lie at the same addresses.
class StepBuffers {
 public:
  // `history` is how many ids all sampling rows of a step may point to.
  static absl::StatusOr<StepBuffers> Create(kernels::Device* device,
                                            const kernels::BatchCapacity& capacity,
                                            int32_t cache_classes, int64_t history,
                                            const SamplingCapacity& sampling = {});

  // `capacity`: what the step is launched with, within that of Create. A step beyond its capacity
  // is a broken invariant. One copy, and one for each class's tables.
  kernels::BatchView UploadBatch(const BatchInput& input, const kernels::BatchCapacity& capacity,
                                 kernels::Device* device);
  // One copy.
  SamplingView UploadSampling(const BatchInput& input, kernels::Device* device);
  // Enqueues the copy of the first `rows` results, with their alternatives where they are wanted.
  void DownloadSampled(int32_t rows, bool with_alternatives, kernels::Device* device);

  // On the device.
  kernels::SampledToken* sampled() const;
  kernels::TokenLogprob* alternatives() const;  // [logit rows, max_alternatives()]
  int32_t max_alternatives() const { return sampling_.alternatives; }
  // On the host, once a download has completed.
  std::span<const kernels::SampledToken> host_sampled() const;
  std::span<const kernels::TokenLogprob> host_alternatives() const;

  size_t bytes() const { return device_.bytes(); }  // and as many on the host

 private:
  StepBuffers() = default;
  void CopyToDevice(size_t begin, size_t end, kernels::Device* device) const;
  template <typename T>
  T* OnDevice(size_t offset) const {
    return reinterpret_cast<T*>(device_.data() + offset);
  }

  kernels::BatchCapacity capacity_;
  int32_t num_classes_ = 0;
  int64_t max_history_ = 0;
  SamplingCapacity sampling_;

  kernels::DeviceBuffer device_;
  kernels::HostBuffer host_;
  // Offsets into both, behind a batch's arrays of fixed size.
  std::array<size_t, kernels::kMaxCacheClasses> tables_at_ = {};
  size_t sampling_at_ = 0;
  size_t sampled_at_ = 0;
  size_t alternatives_at_ = 0;
};

}  // namespace quire
