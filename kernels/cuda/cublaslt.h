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
// asked once for its best algorithm; the answer is kept, so that a step asks nothing. Fixed
// algorithms are those for kFixedRows rows.
class CublasLt {
 public:
  // Null, with what is missing, where the library cannot be loaded.
  static std::unique_ptr<CublasLt> Load(DeviceStatus* status);
  ~CublasLt();

  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
  static constexpr int64_t kFixedRows = 128;

  // Enqueues on `stream`; `workspace` holds kWorkspaceBytes and belongs to the stream.
  DeviceStatus Multiply(const GemmArgs& args, void* workspace, cudaStream_t stream);

 private:
  struct Functions;
  struct Plan;  // of one shape
  using Shape = std::tuple<DType, int64_t, int64_t, int64_t, bool, bool, bool>;

  explicit CublasLt(std::unique_ptr<Functions> functions);
  DeviceStatus PlanFor(const GemmArgs& args, Plan** plan);
  cublasStatus_t Describe(const GemmArgs& args, Plan* plan);
  cublasStatus_t ChooseAlgorithm(const GemmArgs& args, Plan* plan);

  const std::unique_ptr<Functions> functions_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace quire::kernels::cuda
