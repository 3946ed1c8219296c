#pragma once

#include <bit>
#include <cstdint>

#include "kernels/cuda/device/annotations.h"
#include "kernels/cuda/device/float16.h"

// Global memory by 16 bytes where its alignment allows that, else by single elements. Either way
// the same elements come in the same places, so that results do not depend on the way.

namespace quire::kernels::cuda {

// Anything of 32 bits, four at a time.
struct alignas(16) Words4 {
  uint32_t word[4];
};

struct Floats4 {
  float x[4];
};

QUIRE_DEVICE bool IsAligned16(const void* pointer) {
  return (reinterpret_cast<uintptr_t>(pointer) & 15) == 0;
}

// Whether rows of `width` elements of `bytes` that begin at `base` can be read by 16 bytes.
QUIRE_DEVICE bool RowsAligned16(const void* base, int64_t width, int bytes) {
  return IsAligned16(base) && (width * bytes & 15) == 0;
}

// The first `count` (at most 4) of from[0..3]; zeros in the rest.
QUIRE_DEVICE Words4 LoadWords(const uint32_t* from, int64_t count, bool aligned) {
  if (aligned && count >= 4) return *reinterpret_cast<const Words4*>(from);
  Words4 out = {};
  for (int i = 0; i < 4; ++i) {
    if (i < count) out.word[i] = from[i];
  }
  return out;
}

QUIRE_DEVICE void StoreWords(const Words4& in, uint32_t* to, int64_t count, bool aligned) {
  if (aligned && count >= 4) {
    *reinterpret_cast<Words4*>(to) = in;
    return;
  }
  for (int i = 0; i < 4; ++i) {
    if (i < count) to[i] = in.word[i];
  }
}

// The same for floats.
QUIRE_DEVICE Floats4 LoadFloats(const float* from, int64_t count, bool aligned) {
  Floats4 out = {};
  if (aligned && count >= 4) {
    const Words4 words = *reinterpret_cast<const Words4*>(from);
    for (int i = 0; i < 4; ++i) out.x[i] = std::bit_cast<float>(words.word[i]);
    return out;
  }
  for (int i = 0; i < 4; ++i) {
    if (i < count) out.x[i] = from[i];
  }
  return out;
}

QUIRE_DEVICE void StoreFloats(const Floats4& in, float* to, int64_t count, bool aligned) {
  if (aligned && count >= 4) {
    Words4 words;
    for (int i = 0; i < 4; ++i) words.word[i] = std::bit_cast<uint32_t>(in.x[i]);
    *reinterpret_cast<Words4*>(to) = words;
    return;
  }
  for (int i = 0; i < 4; ++i) {
    if (i < count) to[i] = in.x[i];
  }
}

// Eight floats rounded to T (BFloat16 or Half); the first `count` of them are stored.
template <class T, class Context>
QUIRE_DEVICE void StoreRounded(Context& context, const float (&in)[8], T* to, int64_t count,
                               bool aligned) {
  Words4 words;
  for (int i = 0; i < 4; ++i) {
    words.word[i] = context.template Pack<T>(in[2 * i], in[2 * i + 1]);
  }
  if (aligned && count >= 8) {
    *reinterpret_cast<Words4*>(to) = words;
    return;
  }
  for (int i = 0; i < 8; ++i) {
    if (i < count) to[i].bits = static_cast<uint16_t>(words.word[i / 2] >> (i % 2 * 16));
  }
}

}  // namespace quire::kernels::cuda
