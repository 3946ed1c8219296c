#include "server/cli/model_argument.h"

#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/capacity/group_dial.h"
#include "kernels/api/dtype_names.h"

namespace quire::cli {

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

absl::StatusOr<std::vector<int32_t>> ParseGroups(const std::vector<std::string>& texts,
                                                 const ModelConfig& config) {
  std::vector<int32_t> counts;
  for (const std::string& text : texts) {
    if (text == "all") return GroupCounts(config);
    if (text == "own") continue;
    int32_t groups = 0;
    if (!absl::SimpleAtoi(text, &groups)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--groups ", text, ": name numbers, 'all', or 'own' for the model's own"));
    }
    counts.push_back(groups);
  }
  return counts;
}

std::vector<std::string> KvDTypeNames() {
  std::vector<std::string> names;
  for (const kernels::DType dtype : kernels::kDTypes) {
    names.emplace_back(kernels::DTypeName(dtype));
  }
  return names;
}

kernels::DType ChooseKvDType(const std::string& name, kernels::DType compute) {
  return kernels::DTypeOf(name).value_or(compute);
}

}  // namespace quire::cli
