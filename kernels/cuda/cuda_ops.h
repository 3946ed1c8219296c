#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_runtime.h"
#include "kernels/cuda/kernel_table.h"

namespace quire::kernels::cuda {

class PlannedAttention;

// The operations of the CUDA device: each fills in a kernel's arguments and enqueues it. Launches
// depend on the batch's capacity alone, so that they can be recorded in a graph; what a step holds
// the kernels read from device memory.
class CudaOps final : public Ops {
 public:
  // `split` > 0: the batch-invariant mode, see AttentionPlanOptions.
  CudaOps(GpuRuntime* runtime, int32_t split);
  ~CudaOps() override;

  DeviceStatus Prepare(const PrepareParams& params) override;
  size_t WorkBytes() const override;
  // While a graph is recorded a launch may not depend on the step at hand.
  void SetCapturing(bool capturing) { capturing_ = capturing; }

  void BeginStep(const BatchView& batch, const BatchHostView& host) override;
  void Embed(const EmbedParams& params) override;
  void RmsNorm(const RmsNormParams& params) override;
  void AddRmsNorm(const AddRmsNormParams& params) override;
  void Linear(const LinearParams& params) override;
  void RopeWriteKv(const RopeWriteKvParams& params) override;
  void PagedAttention(const PagedAttentionParams& params) override;
  void GateMul(const GateMulParams& params) override;
  void SoftCap(const SoftCapParams& params) override;
  void Sample(const SampleParams& params) override;

 private:
  template <typename Args>
  void Launch(const KernelEntry& entry, const LaunchShape& shape, const Args& args) {
    static_assert(sizeof(Args) <= kMaxArgBytes);
    runtime_->Launch(entry, shape, &args, sizeof(args));
  }

  void LaunchAttention(const PagedAttentionParams& params, const PlannedAttention& planned,
                       const AttentionArgs& args);
  DeviceStatus CheckSharedMemory(const AttentionLayer& layer) const;
  DeviceStatus PrepareAttention(const PrepareParams& params);
  DeviceStatus PrepareSampling(const PrepareParams& params);
  PlannedAttention* FindPlan(const AttentionLayer& layer) const;  // null: none

  GpuRuntime* const runtime_;
  const KernelTable& kernels_;
  const int32_t split_;
  bool capturing_ = false;
  bool prepared_ = false;

  std::vector<std::unique_ptr<PlannedAttention>> plans_;  // one for each shape of layers
  GpuBuffer partial_out_;                                 // as AttentionArgs describes them,
  GpuBuffer partial_lse_;                                 // for the plan that needs most
  GpuBuffer sample_work_;
  GpuBuffer sample_summaries_;
};

}  // namespace quire::kernels::cuda
