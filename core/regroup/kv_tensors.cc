#include "core/regroup/kv_tensors.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"

namespace quire {
namespace {

constexpr uint64_t kIdsPerLayer = 4;  // the weights and biases of K and of V

std::string Divisors(int32_t number) {
  std::vector<int32_t> divisors;
  for (int32_t i = 1; i <= number; ++i) {
    if (number % i == 0) divisors.push_back(i);
  }
  return absl::StrJoin(divisors, ", ");
}

absl::Status CheckLayer(const ModelConfig& config, int32_t layer, int32_t wanted, bool same) {
  const int32_t now = config.Layer(layer).kv_groups;
  if (now == 0) {
    if (wanted == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("layer ", layer,
                                                   " has no attention: give 0 for "
                                                   "it instead of ",
                                                   wanted, " KV groups"));
  }
  if (wanted > 0 && now % wanted == 0) return absl::OkStatus();
  std::string message =
      absl::StrCat("layer ", layer, " has ", now, " KV groups, which cannot be merged into ",
                   wanted, "; it can have ", Divisors(now));
  if (same) absl::StrAppend(&message, "; layers can be given one by one");
  return absl::InvalidArgumentError(message);
}

class KvTensorFinder {
 public:
  KvTensorFinder(const ModelConfig& config, const Checkpoint& checkpoint)
      : config_(config), checkpoint_(checkpoint) {}

  absl::Status AddLayer(int32_t layer, int32_t groups);
  absl::Status RefuseOthers() const;
  KvTensors TakeTensors() { return std::move(tensors_); }

 private:
  // The projection's weights and, where the model has them, its biases.
  absl::Status AddProjection(const std::string& name, const KvTensor& tensor);
  absl::Status Add(const std::string& name, const KvTensor& tensor, bool is_bias);

  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  std::vector<std::string> projections_;
  KvTensors tensors_;
};

absl::Status KvTensorFinder::Add(const std::string& name, const KvTensor& tensor, bool is_bias) {
  std::vector<int64_t> shape = {tensor.RowsWith(tensor.groups_before)};
  if (!is_bias) shape.push_back(config_.hidden_size);
  const SafetensorsEntry* entry = checkpoint_.Find(name);
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint lacks tensor '", name,
                                                   "' of shape ", ShapeName(shape),
                                                   ", which config.json calls for"));
  }
  if (entry->shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", name, "' has shape ", ShapeName(entry->shape),
                     " in the checkpoint, but config.json makes it ", ShapeName(shape)));
  }
  if (!entry->dtype.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' has type ",
                                                   entry->dtype_name,
                                                   "; F32, F16 and BF16 can be regrouped"));
  }
  tensors_.emplace(name, tensor);
  return absl::OkStatus();
}

absl::Status KvTensorFinder::AddProjection(const std::string& name, const KvTensor& tensor) {
  projections_.push_back(name + ".");
  QUIRE_RETURN_IF_ERROR(Add(name + ".weight", tensor, /*is_bias=*/false));
  if (!config_.qkv_bias) return absl::OkStatus();
  KvTensor bias = tensor;
  bias.id += kIdsPerLayer / 2;
  return Add(name + ".bias", bias, /*is_bias=*/true);
}

absl::Status KvTensorFinder::AddLayer(int32_t layer, int32_t groups) {
  const LayerShape shape = config_.Layer(layer);
  const std::string prefix = absl::StrCat(config_.tensors.layers, layer, ".");
  const std::vector<std::string>& names = config_.tensors.qkv;
  KvTensor tensor = {.groups_before = shape.kv_groups,
                     .groups_after = groups,
                     .head_dim = config_.head_dim,
                     .id = kIdsPerLayer * static_cast<uint64_t>(layer)};
  if (names.size() == 1) {
    tensor.leading_rows = int64_t{shape.num_heads} * config_.head_dim;
    tensor.parts = 2;
    return AddProjection(prefix + names[0], tensor);
  }
  QUIRE_RETURN_IF_ERROR(AddProjection(prefix + names[1], tensor));
  ++tensor.id;
  return AddProjection(prefix + names[2], tensor);
}

absl::Status KvTensorFinder::RefuseOthers() const {
  for (const std::string& name : checkpoint_.Names()) {
    for (const std::string& projection : projections_) {
      if (!absl::StartsWith(name, projection) || tensors_.contains(name)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", name,
                       "' belongs to a projection that changes with the KV "
                       "groups, but config.json has no use for it: the two do not belong together, "
                       "or the model is of a kind that is not supported"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ChooseGroups(const ModelConfig& config, int32_t groups,
                                                  std::span<const int32_t> per_layer) {
  const bool same = groups != 0;
  if (!same && per_layer.size() != config.kv_groups.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the model has ", config.num_layers,
                                                   " layers, but KV groups are given for ",
                                                   per_layer.size(), "; give one number a layer"));
  }
  std::vector<int32_t> chosen;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const auto l = static_cast<size_t>(layer);
    chosen.push_back(!same ? per_layer[l] : config.kv_groups[l] == 0 ? 0 : groups);
    QUIRE_RETURN_IF_ERROR(CheckLayer(config, layer, chosen.back(), same));
  }
  if (chosen != config.kv_groups) return chosen;
  return absl::InvalidArgumentError(
      "the model has these KV groups already and nothing would change; ask for fewer in some "
      "layer");
}

absl::StatusOr<KvTensors> FindKvTensors(const ModelConfig& config, const Checkpoint& checkpoint,
                                        const std::vector<int32_t>& groups) {
  KvTensorFinder finder(config, checkpoint);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    const int32_t wanted = groups[static_cast<size_t>(layer)];
    if (wanted == config.Layer(layer).kv_groups) continue;
    QUIRE_RETURN_IF_ERROR(finder.AddLayer(layer, wanted));
  }
  QUIRE_RETURN_IF_ERROR(finder.RefuseOthers());
  return finder.TakeTensors();
}

}  // namespace quire
