#include "kernels/cpu/cpu_device.h"

#if defined(QUIRE_X86_TIERS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace quire::kernels {
namespace {

// Tiles are used by permission alone, which holds for all threads of the process.
bool MayUseAmx() {
#if defined(QUIRE_X86_TIERS) && defined(__linux__)
  constexpr unsigned kAmxBits = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, -TILE and -INT8
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, which old headers lack
  constexpr int kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAmxBits) != kAmxBits) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

const char* IsaTierName(IsaTier tier) {
  switch (tier) {
    case IsaTier::kPortable:
      return "portable";
    case IsaTier::kAvx2:
      return "avx2";
    case IsaTier::kAvx512Bf16:
      return "avx512_bf16";
    case IsaTier::kAmx:
      return "amx";
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
    case IsaTier::kAmx:
      return IsaTierSupported(IsaTier::kAvx512Bf16) && MayUseAmx();
#else
    case IsaTier::kAvx2:
    case IsaTier::kAvx512Bf16:
    case IsaTier::kAmx:
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
