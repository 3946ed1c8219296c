#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "absl/status/status.h"
#include "core/model/model_config.h"

// Parts of config.json that architectures share. Each reads its fields into `config`, in the order
// of this page, since later ones use what earlier ones have read.

namespace quire {

class JsonFields;

// Fields by which a checkpoint would ask for something that no architecture here does: an error
// when one of them has another value than the one that asks for nothing.
absl::Status RefuseUnsupported(const JsonFields& fields);

// What an architecture takes for granted where config.json is silent.
struct DecoderDefaults {
  int32_t head_dim = 0;  // 0: hidden_size / num_attention_heads
  bool tied = false;
  const char* activation_field = "hidden_act";
  const char* activation = "silu";
};

// Sizes, heads and groups (the same in every layer), epsilon, ties, activation.
absl::Status ReadDecoder(const JsonFields& fields, const DecoderDefaults& defaults,
                         ModelConfig* config);

// The parts of ReadDecoder, for architectures that write some of it in another way.
absl::Status ReadSizes(const JsonFields& fields, ModelConfig* config);
absl::Status ReadIntermediateSize(const JsonFields& fields, ModelConfig* config);
// "num_key_value_heads" may be a list with one number a layer: what `quire regroup` writes where
// layers differ, as no field of these architectures can say it otherwise.
absl::Status ReadHeads(const JsonFields& fields, int32_t default_head_dim, ModelConfig* config);
absl::Status ReadSwitches(const JsonFields& fields, const DecoderDefaults& defaults,
                          ModelConfig* config);
absl::Status CheckHeadDim(const JsonFields& fields, const char* field, int64_t head_dim);

absl::Status ReadDtype(const JsonFields& fields, ModelConfig* config);
absl::Status ReadEosTokens(const JsonFields& fields, ModelConfig* config);

// Attention and feed-forward biases as Llama has them: all of a block's projections or none.
absl::Status ReadBlockBiases(const JsonFields& fields, ModelConfig* config);

// Which layers have the window that `sliding_window` gives; a null there means none.
struct WindowRule {
  int32_t default_window = 0;   // where the field is absent; 0: none
  bool off_by_default = false;  // without "use_sliding_window": true
  bool layer_types = false;     // the field of this name, when given, overrules `windowed`
  std::function<bool(int32_t layer)> windowed;
};
absl::Status ReadWindows(const JsonFields& fields, const WindowRule& rule, ModelConfig* config);

// A list with one entry a layer.
absl::StatusOr<const nlohmann::json*> LayerList(const JsonFields& fields, const char* field,
                                                int32_t num_layers);
// A list of integers in [1, max], one a layer.
absl::StatusOr<std::vector<int32_t>> ReadSizeList(const JsonFields& fields, const char* field,
                                                  int32_t num_layers, int64_t max);
// KV groups as such a list; each must divide config->num_heads.
absl::Status ReadGroupList(const JsonFields& fields, const char* field, ModelConfig* config);

}  // namespace quire
