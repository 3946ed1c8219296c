"""What describes a tiny checkpoint."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class TinyModel:
  """One checkpoint: its config.json, and the lengths of the prompts that go with it."""

  name: str
  seed: int
  config: dict
  # Before a block of 16 ends, after it, and beyond several blocks, windows and original lengths.
  lengths: tuple[int, ...] = (1, 30, 100)
  shards: int = 1

  @property
  def dtype(self) -> torch.dtype:
    return getattr(torch, self.config["torch_dtype"])
