#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

namespace quire::kernels::cuda {
namespace {

constexpr const char* kLibrary = "libcublasLt.so." QUIRE_CUBLASLT_MAJOR;

// Where the system looks, then where the toolkit installs itself. `reason`: why the first failed.
void* OpenLibrary(std::string* reason) {
  const char* home = std::getenv("CUDA_HOME");
  const std::string folders[] = {"", home == nullptr ? "" : std::string(home) + "/lib64/",
                                 "/usr/local/cuda/lib64/"};
  for (const std::string& folder : folders) {
    void* const library = dlopen((folder + kLibrary).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) return library;
    const char* error = dlerror();
    if (reason->empty()) *reason = error == nullptr ? "no reason given" : error;
  }
  return nullptr;
}

DeviceStatus Failed(const char* what, cublasStatus_t status) {
  return DeviceStatus(
      DeviceStatus::Code::kDeviceLost,
      std::string("cuBLASLt: ") + what + " failed with status " + std::to_string(status));
}

}  // namespace

// What is called of the library; each has the type of its declaration.
struct CublasLt::Functions {
  void* library = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescInit_internal) init_desc = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_desc = nullptr;
  decltype(&cublasLtMatrixLayoutInit_internal) init_layout = nullptr;
  decltype(&cublasLtMatmulPreferenceInit_internal) init_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;

  Functions() = default;
  Functions(const Functions&) = delete;
  Functions& operator=(const Functions&) = delete;
  // The library is never unloaded: it has threads and handlers of its own.
  ~Functions() = default;

  template <typename Function>
  bool Find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(library, name));
    return *function != nullptr;
  }
  bool FindAll() {
    return Find("cublasLtCreate", &create) && Find("cublasLtDestroy", &destroy) &&
           Find("cublasLtMatmul", &matmul) && Find("cublasLtMatmulAlgoGetHeuristic", &heuristic) &&
           Find("cublasLtMatmulDescInit_internal", &init_desc) &&
           Find("cublasLtMatmulDescSetAttribute", &set_desc) &&
           Find("cublasLtMatrixLayoutInit_internal", &init_layout) &&
           Find("cublasLtMatmulPreferenceInit_internal", &init_preference) &&
           Find("cublasLtMatmulPreferenceSetAttribute", &set_preference);
  }
};

struct CublasLt::Plan {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t weights, in, out;
  cublasLtMatmulAlgo_t algorithm;
  bool has_bias = false;
};

std::unique_ptr<CublasLt> CublasLt::Load(DeviceStatus* status) {
  const auto missing = [&](const std::string& why) {
    *status = DeviceStatus(DeviceStatus::Code::kInvalidArgument, why);
    return nullptr;
  };
  auto functions = std::make_unique<Functions>();
  std::string reason;
  functions->library = OpenLibrary(&reason);
  if (functions->library == nullptr) {
    return missing(std::string(kLibrary) + " of the CUDA Toolkit cannot be loaded: " + reason +
                   "; install it, or set LD_LIBRARY_PATH or CUDA_HOME");
  }
  if (!functions->FindAll()) return missing(std::string(kLibrary) + " lacks a function");
  std::unique_ptr<CublasLt> loaded(new CublasLt(std::move(functions)));
  const cublasStatus_t created = loaded->functions_->create(&loaded->handle_);
  if (created != CUBLAS_STATUS_SUCCESS) {
    *status = Failed("starting", created);
    return nullptr;
  }
  *status = DeviceStatus();
  return loaded;
}

CublasLt::CublasLt(std::unique_ptr<Functions> functions) : functions_(std::move(functions)) {}

CublasLt::~CublasLt() {
  if (handle_ != nullptr) functions_->destroy(handle_);
}

// The library counts in columns: its D [n x m] = W^T [n x k] * in [k x m], where W is our row-major
// [n, k] read as [k x n].
cublasStatus_t CublasLt::Describe(const GemmArgs& args, Plan* plan) {
  const Functions& f = *functions_;
  const cudaDataType_t type = args.type == DType::kBF16 ? CUDA_R_16BF : CUDA_R_16F;
  const auto n = static_cast<uint64_t>(args.n);
  const auto m = static_cast<uint64_t>(args.m);
  const auto k = static_cast<uint64_t>(args.k);
  const auto init_layout = [&](cublasLtMatrixLayoutOpaque_t* layout, cudaDataType_t t,
                               uint64_t rows, uint64_t cols) {
    return f.init_layout(layout, sizeof(*layout), t, rows, cols, static_cast<int64_t>(rows));
  };
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  plan->has_bias = args.bias != nullptr;
  cublasStatus_t status =
      f.init_desc(&plan->operation, sizeof(plan->operation), CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const auto then = [&](auto&& call) {
    if (status == CUBLAS_STATUS_SUCCESS) status = call();
  };
  then([&] {
    return f.set_desc(&plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                      sizeof(transposed));
  });
  if (plan->has_bias) {
    then([&] {
      return f.set_desc(&plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                        sizeof(epilogue));
    });
    // The pointer's alignment is part of the question.
    then([&] {
      return f.set_desc(&plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &args.bias,
                        sizeof(args.bias));
    });
  }
  then([&] { return init_layout(&plan->weights, type, k, n); });
  then([&] { return init_layout(&plan->in, type, k, m); });
  then([&] { return init_layout(&plan->out, CUDA_R_32F, n, m); });
  return status;
}

cublasStatus_t CublasLt::ChooseAlgorithm(const GemmArgs& args, Plan* plan) {
  const Functions& f = *functions_;
  cublasLtMatmulPreferenceOpaque_t preference;
  const uint64_t workspace = kWorkspaceBytes;
  const uint32_t no_reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  cublasStatus_t status = f.init_preference(&preference, sizeof(preference));
  const auto then = [&](auto&& call) {
    if (status == CUBLAS_STATUS_SUCCESS) status = call();
  };
  then([&] {
    return f.set_preference(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                            sizeof(workspace));
  });
  if (args.fixed_algorithm) {
    then([&] {
      return f.set_preference(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                              &no_reduction, sizeof(no_reduction));
    });
  }
  then([&] {
    return f.heuristic(handle_, &plan->operation, &plan->weights, &plan->in, &plan->out, &plan->out,
                       &preference, 1, &found, &count);
  });
  then([&] { return count == 1 ? found.state : CUBLAS_STATUS_NOT_SUPPORTED; });
  if (status == CUBLAS_STATUS_SUCCESS) plan->algorithm = found.algo;
  return status;
}

DeviceStatus CublasLt::PlanFor(const GemmArgs& args, Plan** plan) {
  const Shape shape(args.type, args.m, args.n, args.k, args.bias != nullptr, args.accumulate,
                    args.fixed_algorithm);
  std::unique_ptr<Plan>& known = plans_[shape];
  if (known == nullptr) {
    auto made = std::make_unique<Plan>();
    cublasStatus_t status = Describe(args, made.get());
    if (status != CUBLAS_STATUS_SUCCESS) return Failed("describing a product", status);
    if (args.fixed_algorithm && args.m != kFixedRows) {
      GemmArgs reference = args;
      reference.m = kFixedRows;
      Plan* fixed = nullptr;
      if (DeviceStatus failed = PlanFor(reference, &fixed); !failed.ok()) return failed;
      made->algorithm = fixed->algorithm;
    } else {
      status = ChooseAlgorithm(args, made.get());
    }
    if (status != CUBLAS_STATUS_SUCCESS) return Failed("choosing an algorithm", status);
    known = std::move(made);
  }
  *plan = known.get();
  return DeviceStatus();
}

DeviceStatus CublasLt::Multiply(const GemmArgs& args, void* workspace, cudaStream_t stream) {
  Plan* plan = nullptr;
  if (DeviceStatus status = PlanFor(args, &plan); !status.ok()) return status;
  cublasLtMatmulDescOpaque_t operation = plan->operation;
  if (plan->has_bias) {
    const cublasStatus_t status = functions_->set_desc(
        &operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &args.bias, sizeof(args.bias));
    if (status != CUBLAS_STATUS_SUCCESS) return Failed("setting the bias", status);
  }
  const float alpha = 1;
  const float beta = args.accumulate ? 1 : 0;
  const cublasStatus_t status =
      functions_->matmul(handle_, &operation, &alpha, args.weights, &plan->weights, args.in,
                         &plan->in, &beta, args.out, &plan->out, args.out, &plan->out,
                         &plan->algorithm, workspace, kWorkspaceBytes, stream);
  if (status != CUBLAS_STATUS_SUCCESS) return Failed("a matrix product", status);
  return DeviceStatus();
}

}  // namespace quire::kernels::cuda
