#include "server/cli/model_argument.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire::cli {
namespace {

constexpr kernels::DType kKvDTypes[] = {kernels::DType::kF32, kernels::DType::kF16,
                                        kernels::DType::kBF16, kernels::DType::kF8E4M3};

}  // namespace

absl::StatusOr<ModelConfig> FindModel(const std::string& model) {
  if (std::filesystem::exists(model)) return LoadModelConfig(model);
  absl::StatusOr<ModelConfig> shape = NamedModelShape(model);
  if (shape.ok()) return shape;
  return absl::NotFoundError(absl::StrCat("'", model, "' is neither a model directory nor one of ",
                                          absl::StrJoin(NamedModelShapes(), ", ")));
}

std::string FindModelHelp() {
  return "Model directory, or a known shape: " + absl::StrJoin(NamedModelShapes(), ", ");
}

std::vector<std::string> KvDTypeNames() {
  std::vector<std::string> names;
  for (const kernels::DType dtype : kKvDTypes) names.emplace_back(kernels::DTypeName(dtype));
  return names;
}

kernels::DType ChooseKvDType(const std::string& name, const ModelConfig& config) {
  for (const kernels::DType dtype : kKvDTypes) {
    if (name == kernels::DTypeName(dtype)) return dtype;
  }
  return config.DefaultComputeType();
}

}  // namespace quire::cli
