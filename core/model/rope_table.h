#pragma once

#include <cstdint>
#include <vector>

#include "core/model/model_config.h"

namespace quire {

// Frequencies of the rotary embedding [head_dim / 2], in the float32 steps that Hugging Face
// transformers takes, including the scaling of Llama 3.1.
std::vector<float> RopeFrequencies(const RopeConfig& rope, int32_t head_dim);

// [positions, head_dim]: head_dim / 2 cosines, then as many sines.
std::vector<float> RopeTable(const RopeConfig& rope, int32_t head_dim, int32_t positions);

}  // namespace quire
