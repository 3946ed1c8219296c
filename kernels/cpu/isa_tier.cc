#include "kernels/cpu/cpu_device.h"

namespace quire::kernels {

const char* IsaTierName(IsaTier tier) {
  switch (tier) {
    case IsaTier::kPortable:
      return "portable";
    case IsaTier::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "?";
}

bool IsaTierSupported(IsaTier tier) {
  switch (tier) {
    case IsaTier::kPortable:
      return true;
    case IsaTier::kAvx512Bf16:
#ifdef QUIRE_TIER_AVX512_BF16
      // The builtin also asks whether the operating system saves the wide registers.
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma");
#else
      return false;
#endif
  }
  return false;
}

IsaTier BestIsaTier() {
  return IsaTierSupported(IsaTier::kAvx512Bf16) ? IsaTier::kAvx512Bf16 : IsaTier::kPortable;
}

}  // namespace quire::kernels
