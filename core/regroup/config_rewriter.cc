#include "core/regroup/config_rewriter.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/model/json_fields.h"
#include "core/regroup/json_text.h"

namespace quire {
namespace {

constexpr char kGroups[] = "num_key_value_heads";
constexpr char kDeciLm[] = "DeciLMForCausalLM";
constexpr char kOpenElm[] = "OpenELMForCausalLM";

std::string List(const std::vector<int32_t>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ", "), "]");
}

// The one value of all, or 0 where they differ.
int32_t Common(const std::vector<int32_t>& values) {
  const bool same = std::all_of(values.begin(), values.end(),
                                [&](int32_t value) { return value == values.front(); });
  return same ? values.front() : 0;
}

void RewriteDeciLm(const JsonFields& fields, const ModelConfig& config,
                   const std::vector<int32_t>& groups, JsonText* text) {
  if (fields.Has("block_configs")) {
    for (size_t layer = 0; layer < groups.size(); ++layer) {
      if (groups[layer] == 0) continue;
      text->Replace(
          {"block_configs", layer, "attention", "n_heads_in_group"},
          absl::StrCat(config.Layer(static_cast<int32_t>(layer)).num_heads / groups[layer]));
    }
  } else {
    text->Replace({"num_key_value_heads_per_layer"}, List(groups));
  }
  // Some programs size their cache by it.
  if (fields.Has(kGroups)) {
    text->Replace({kGroups}, absl::StrCat(*std::max_element(groups.begin(), groups.end())));
  }
}

void RewriteOpenElm(const JsonFields& fields, const ModelConfig& config,
                    const std::vector<int32_t>& groups, JsonText* text) {
  text->Replace({"num_kv_heads"}, List(groups));
  if (!fields.Has("num_gqa_groups")) return;
  // In spite of its name, the query heads that share a group.
  std::vector<int32_t> q_per_group;
  for (size_t layer = 0; layer < groups.size(); ++layer) {
    q_per_group.push_back(config.Layer(static_cast<int32_t>(layer)).num_heads / groups[layer]);
  }
  const int32_t common = Common(q_per_group);
  text->Replace({"num_gqa_groups"}, common > 0 ? absl::StrCat(common) : "null");
}

void RewriteDecoder(const std::vector<int32_t>& groups, JsonText* text) {
  const int32_t common = Common(groups);
  const std::string value = common > 0 ? absl::StrCat(common) : List(groups);
  if (!text->Replace({kGroups}, value)) text->Prepend(kGroups, value);
}

}  // namespace

absl::StatusOr<std::string> RewriteKvGroups(const std::string& text, const std::string& where,
                                            const ModelConfig& config,
                                            const std::vector<int32_t>& groups) {
  QUIRE_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJson(text, where));
  const JsonFields fields(object, where);
  JsonText out(text);
  if (config.architecture == kDeciLm) {
    RewriteDeciLm(fields, config, groups, &out);
  } else if (config.architecture == kOpenElm) {
    RewriteOpenElm(fields, config, groups, &out);
  } else {
    RewriteDecoder(groups, &out);
  }
  QUIRE_ASSIGN_OR_RETURN(const ModelConfig rewritten, ParseModelConfig(out.text(), where));
  if (rewritten.kv_groups == groups) return out.text();
  return absl::InternalError(
      absl::StrCat(where, ": cannot be made to say the KV groups ", List(groups)));
}

bool IsListOfQuire(const ModelConfig& config, const std::vector<int32_t>& groups) {
  return config.architecture != kDeciLm && config.architecture != kOpenElm && Common(groups) == 0;
}

}  // namespace quire
