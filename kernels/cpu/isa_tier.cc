#include "kernels/cpu/cpu_device.h"

namespace quire::kernels {

const char* IsaTierName(IsaTier tier) {
  switch (tier) {
    case IsaTier::kPortable:
      return "portable";
    case IsaTier::kAvx2:
      return "avx2";
    case IsaTier::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "?";
}

// The builtins also ask whether the operating system saves the wide registers.
bool IsaTierSupported(IsaTier tier) {
  switch (tier) {
    case IsaTier::kPortable:
      return true;
#ifdef QUIRE_X86_TIERS
    case IsaTier::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case IsaTier::kAvx512Bf16:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
             __builtin_cpu_supports("fma");
#else
    case IsaTier::kAvx2:
    case IsaTier::kAvx512Bf16:
      return false;
#endif
  }
  return false;
}

IsaTier BestIsaTier() {
  IsaTier best = IsaTier::kPortable;
  for (IsaTier tier : kIsaTiers) {
    if (IsaTierSupported(tier)) best = tier;
  }
  return best;
}

}  // namespace quire::kernels
