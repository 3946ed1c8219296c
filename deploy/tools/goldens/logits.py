"""Logits and greedy continuations of a checkpoint from Hugging Face transformers.

One safetensors file a model; for prompt i it holds
  prompt.<i>.ids          I32 [T]      the prompt, first token included
  prompt.<i>.logits       F32 [T, V]   stored weights, float32 arithmetic
  prompt.<i>.logits_bf16w F32 [T, V]   weights rounded to BF16, float32 arithmetic; not there where
                                       they equal `logits`, as those of a checkpoint in BF16 do
  prompt.<i>.logits_bf16  F32 [T, V]   weights and activations in BF16 throughout
  prompt.<i>.greedy       I32 [64]     greedy continuation, not stopped by the end token
  prompt.<i>.margin       F32 [64]     best logit minus second best, at each of those steps
"""

from __future__ import annotations

import pathlib

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .reference import load_model

NEW_TOKENS = 64


def _load_rounded(folder: pathlib.Path) -> nn.Module:
  """Rounds the parameters alone: Module.to() would round the rotation frequencies too."""
  model = load_model(folder)
  for parameter in model.parameters():
    parameter.copy_(parameter.bfloat16().float())
  return model


def _logits(model: nn.Module, ids: list[int]) -> Tensor:
  return model(torch.tensor([ids])).logits[0].float()


def _greedy(model: nn.Module, ids: list[int]) -> tuple[Tensor, Tensor]:
  """Recomputes the whole sequence each step: slower than a cache, but nothing to get wrong."""
  text, margins = list(ids), []
  for _ in range(NEW_TOKENS):
    best = _logits(model, text)[-1].topk(2)
    text.append(int(best.indices[0]))
    margins.append(float(best.values[0] - best.values[1]))
  return torch.tensor(text[len(ids):], dtype=torch.int32), torch.tensor(margins)


@torch.no_grad()
def write_logits(folder: pathlib.Path, prompts: list[list[int]], out: pathlib.Path) -> None:
  stored, naive = load_model(folder), load_model(folder, torch.bfloat16)
  rounded = _load_rounded(folder)
  tensors: dict[str, Tensor] = {}
  for i, ids in enumerate(prompts):
    greedy, margin = _greedy(stored, ids)
    tensors |= {f"prompt.{i}.ids": torch.tensor(ids, dtype=torch.int32),
                f"prompt.{i}.logits": _logits(stored, ids),
                f"prompt.{i}.logits_bf16": _logits(naive, ids),
                f"prompt.{i}.greedy": greedy, f"prompt.{i}.margin": margin}
    in_bf16 = _logits(rounded, ids)
    if not torch.equal(in_bf16, tensors[f"prompt.{i}.logits"]):
      tensors[f"prompt.{i}.logits_bf16w"] = in_bf16
  save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out)
  out.chmod(0o644)
