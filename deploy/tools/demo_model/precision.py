"""BF16 where the processor multiplies it, else float32: emulated BF16 is ten times as slow."""

from __future__ import annotations

import torch

_FEATURES = torch.cpu.get_capabilities()
HAS_BF16 = any(_FEATURES.get(name) for name in ("amx_bf16", "avx512_bf16"))


def autocast() -> torch.autocast:
  return torch.autocast("cpu", dtype=torch.bfloat16, enabled=HAS_BF16)
