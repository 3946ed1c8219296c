#pragma once

#include <cstddef>
#include <cstdint>

namespace quire {

// Bounds on a model's sizes: far above any model there is, and low enough that no product of them
// that this folder or the kernels compute leaves its type.
inline constexpr int64_t kMaxVocab = int64_t{1} << 22;
inline constexpr int64_t kMaxHidden = int64_t{1} << 16;
inline constexpr int64_t kMaxIntermediate = int64_t{1} << 18;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 1024;
inline constexpr int64_t kMaxPositions = int64_t{1}
                                         << 24;  // a float32 still counts them one by one
inline constexpr int64_t kMaxWindow = int64_t{1} << 30;
inline constexpr size_t kMaxEosTokens = 64;
inline constexpr size_t kMaxConfigBytes = size_t{4} << 20;

// A rotation's base, and what its frequencies are divided by: far beyond what models have, and such
// that every step of RopeFrequencies stays a number.
inline constexpr double kMaxRopeTheta = 1e12;
inline constexpr double kMinRopeFactor = 1e-3;
inline constexpr double kMaxRopeFactor = 1e6;

}  // namespace quire
