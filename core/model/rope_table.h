#pragma once

#include <cstdint>
#include <vector>

#include "core/model/rope_config.h"

namespace quire {

// How many elements of a head rotate.
int32_t RotaryDim(const RopeConfig& rope, int32_t head_dim);

// Frequencies of the rotation [rotary dim / 2], in the float32 steps that transformers takes.
// `positions` is the longest context that is served. It decides which factors a longrope model uses
// for all its tokens: the long ones if it exceeds the original length, else the short ones.
// Transformers switches to the long ones when a batch holds a sequence beyond that length, which
// changes the keys of tokens that are already cached, and those of the neighbours; here a request
// gets the same answer in every batch.
std::vector<float> RopeFrequencies(const RopeConfig& rope, int32_t head_dim, int32_t positions);

// [positions, rotary dim]: half of a row are cosines, the other half sines.
std::vector<float> RopeTable(const RopeConfig& rope, int32_t head_dim, int32_t positions);

}  // namespace quire
