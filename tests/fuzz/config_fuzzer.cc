#include <cstdint>
#include <string_view>

#include "core/base/check.h"
#include "core/model/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config =
      quire::ParseModelConfig({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!config.ok()) return 0;
  QUIRE_CHECK(static_cast<size_t>(config->num_layers) == config->kv_groups.size());
  for (int32_t l = 0; l < config->num_layers; ++l) {
    const quire::LayerShape layer = config->Layer(l);
    QUIRE_CHECK(layer.kv_groups >= 0 && layer.kv_groups <= layer.num_heads) << "layer " << l;
    if (layer.kv_groups > 0) QUIRE_CHECK(layer.num_heads % layer.kv_groups == 0) << "layer " << l;
  }
  QUIRE_CHECK(config->NumParameters() > 0);
  return 0;
}
