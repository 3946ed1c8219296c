#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "kernels/cuda/gpu_runtime.h"

namespace quire::kernels::cuda {

// Matrix products by NVIDIA's cuBLASLt, which is loaded when it is first needed: a server that
// computes on the CPU neither needs nor maps its half gigabyte. For every shape the library is
// asked once for its best algorithm; the answer is kept, so that a step asks nothing.
class CublasLt {
 public:
  // Null, with what is missing, where the library cannot be loaded.
  static std::unique_ptr<CublasLt> Load(DeviceStatus* status);
  ~CublasLt();

  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // Enqueues on `stream`; `workspace` holds kWorkspaceBytes and belongs to the stream.
  DeviceStatus Multiply(const GemmArgs& args, void* workspace, cudaStream_t stream);

 private:
  struct Functions;
  struct Plan;  // of one shape
  using Shape = std::tuple<DType, int64_t, int64_t, int64_t, bool, bool>;

  explicit CublasLt(std::unique_ptr<Functions> functions);
  DeviceStatus PlanFor(const GemmArgs& args, Plan** plan);
  cublasStatus_t MakePlan(const GemmArgs& args, Plan* plan);

  const std::unique_ptr<Functions> functions_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace quire::kernels::cuda
