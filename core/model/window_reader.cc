#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/config_reader.h"
#include "core/model/json_fields.h"

namespace quire {
namespace {

using nlohmann::json;

// `windowed` per layer, overruled by the field layer_types.
absl::StatusOr<std::vector<bool>> WindowedLayers(const JsonFields& fields, const WindowRule& rule,
                                                 bool enabled, int32_t num_layers) {
  std::vector<bool> windowed(static_cast<size_t>(num_layers));
  for (size_t l = 0; l < windowed.size(); ++l) {
    windowed[l] = enabled && rule.windowed(static_cast<int32_t>(l));
  }
  if (!fields.Has("layer_types")) return windowed;
  QUIRE_ASSIGN_OR_RETURN(const json* types, LayerList(fields, "layer_types", num_layers));
  for (size_t l = 0; l < windowed.size(); ++l) {
    const bool sliding = (*types)[l] == "sliding_attention";
    if (!sliding && (*types)[l] != "full_attention") {
      return fields.Error("layer_types",
                          "a list of \"full_attention\" and \"sliding_attention\", the kinds that "
                          "are supported");
    }
    if (!rule.layer_types && sliding != windowed[l]) {
      return fields.Error("layer_types",
                          "the same for every layer, as sliding_window says: this architecture "
                          "knows no others");
    }
    windowed[l] = sliding;
  }
  return windowed;
}

}  // namespace

absl::Status ReadWindows(const JsonFields& fields, const WindowRule& rule, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(const bool enabled,
                         fields.BoolOr("use_sliding_window", !rule.off_by_default));
  const int32_t absent = fields.IsNull("sliding_window") ? 0 : rule.default_window;
  QUIRE_ASSIGN_OR_RETURN(const int64_t window,
                         fields.IntOr("sliding_window", absent, 1, kMaxWindow));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                         WindowedLayers(fields, rule, enabled && window > 0, config->num_layers));
  if (std::find(windowed.begin(), windowed.end(), true) == windowed.end()) return absl::OkStatus();
  if (!enabled) {
    return fields.Error("use_sliding_window", "true, since layer_types asks for windows");
  }
  if (window == 0) return fields.Error("sliding_window", "given, since layer_types asks for it");
  // Kept even where no context outgrows it: by its window a layer is known to rotate by
  // window_rope.
  for (const bool has_one : windowed) {
    config->windows.push_back(has_one ? static_cast<int32_t>(window) : 0);
  }
  return absl::OkStatus();
}

}  // namespace quire
