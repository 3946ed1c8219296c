"""Exact-match scoring of a training model on evaluation prompts, and tallies by kind."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import torch

from documents import Encode, Prompt
from model import DemoModel
from tokenizer import END_ID

BATCH = 16


def expected_ids(encode: Encode, answer: str) -> list[int]:
  """The answer, its full stop and the end of the text."""
  return encode(f" {answer}.") + [END_ID]


@torch.no_grad()
def exact_matches(model: DemoModel, encode: Encode, prompts: Sequence[Prompt]) -> list[bool]:
  """Whether greedy decoding gives the whole answer. One pass a prompt: the best next token at every
  place of the right answer equals greedy decoding for as long as everything is right."""
  rows = [([END_ID] + encode(p.text), expected_ids(encode, p.answer)) for p in prompts]
  order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
  hits = [False] * len(rows)
  for first in range(0, len(rows), BATCH):
    part = order[first:first + BATCH]
    texts = [rows[i][0] + rows[i][1][:-1] for i in part]
    longest = max(map(len, texts))
    with torch.autocast("cpu", dtype=torch.bfloat16):
      hidden = model(torch.tensor([text + [END_ID] * (longest - len(text)) for text in texts]))
    for i, states in zip(part, hidden):
      prompt, answer = rows[i]
      places = states[len(prompt) - 1:len(prompt) - 1 + len(answer)]
      hits[i] = (places @ model.embed_tokens.t()).argmax(-1).tolist() == answer
  return hits


def share_by_kind(prompts: Sequence[Prompt], hits: Sequence[bool]) -> dict[str, float]:
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for prompt, hit in zip(prompts, hits):
    counts[prompt.kind][0] += hit
    counts[prompt.kind][1] += 1
  return {kind: round(right / total, 3) for kind, (right, total) in sorted(counts.items())}
