"""Greedy answers from Hugging Face transformers."""

from __future__ import annotations

import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class TransformersAnswerer:
  """Loads the folder once; each call is one prompt."""

  def __init__(self, folder: pathlib.Path, dtype: str, max_new_tokens: int):
    self._tokenizer = AutoTokenizer.from_pretrained(folder)
    self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    self._max_new_tokens = max_new_tokens

  @torch.no_grad()
  def __call__(self, prompt: str) -> str:
    ids = torch.tensor([self._tokenizer(prompt).input_ids])
    out = self._model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                               top_k=None, max_new_tokens=self._max_new_tokens, pad_token_id=0)
    return str(self._tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True))
