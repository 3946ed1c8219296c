#pragma once

// GCC before 11.5, 12.4 and 13.3 (Debian 12 has 12.2) takes _tile_loadconfig to read 8 bytes of its
// 64 and drops what was written to the others: llama.cpp's AMX code then dies of a bad
// configuration (https://gcc.gnu.org/PR114098). Included ahead of its sources, this says what is
// read.

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) \
  __asm__ volatile("ldtilecfg\t%X0" ::"m"(*reinterpret_cast<const char(*)[64]>(config)))
#endif
