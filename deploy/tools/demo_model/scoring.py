"""Scores a training model on evaluation prompts: exact answers, and how likely it finds the text."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from documents import Encode, Prompt
from model import DemoModel
from precision import autocast
from tokenizer import END_ID

BATCH = 16


def expected_ids(encode: Encode, answer: str) -> list[int]:
  """The answer, its full stop and the end of the text."""
  return encode(f" {answer}.") + [END_ID]


@dataclasses.dataclass
class Score:
  """Of several prompts: whether each is answered exactly, and the text's negative log-likelihood."""

  hits: list[bool]
  answer_loss: float = 0.0
  answer_tokens: int = 0
  prompt_loss: float = 0.0
  prompt_tokens: int = 0

  @property
  def exact(self) -> float:
    return sum(self.hits) / len(self.hits)

  @property
  def answer_perplexity(self) -> float:
    return math.exp(self.answer_loss / self.answer_tokens)

  @property
  def prompt_perplexity(self) -> float:
    return math.exp(self.prompt_loss / self.prompt_tokens)


@torch.no_grad()
def score(model: DemoModel, encode: Encode, prompts: Sequence[Prompt]) -> Score:
  """One pass a prompt: the best next token at every place of the right answer equals greedy decoding
  for as long as everything is right."""
  rows = [([END_ID] + encode(p.text), expected_ids(encode, p.answer)) for p in prompts]
  order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
  result = Score([False] * len(rows))
  for first in range(0, len(rows), BATCH):
    part = order[first:first + BATCH]
    texts = [rows[i][0] + rows[i][1][:-1] for i in part]
    longest = max(map(len, texts))
    with autocast():
      hidden = model(torch.tensor([text + [END_ID] * (longest - len(text)) for text in texts]))
    for i, states in zip(part, hidden):
      _add(result, i, rows[i], states @ model.embed_tokens.t())
  return result


def _add(result: Score, index: int, row: tuple[list[int], list[int]], logits: torch.Tensor) -> None:
  prompt, answer = row
  places = logits[len(prompt) - 1:len(prompt) - 1 + len(answer)]
  result.hits[index] = places.argmax(-1).tolist() == answer
  result.answer_loss += F.cross_entropy(places, torch.tensor(answer), reduction="sum").item()
  result.answer_tokens += len(answer)
  result.prompt_loss += F.cross_entropy(logits[:len(prompt) - 1], torch.tensor(prompt[1:]),
                                        reduction="sum").item()
  result.prompt_tokens += len(prompt) - 1


def share_by_kind(prompts: Sequence[Prompt], hits: Sequence[bool]) -> dict[str, float]:
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for prompt, hit in zip(prompts, hits):
    counts[prompt.kind][0] += hit
    counts[prompt.kind][1] += 1
  return {kind: round(right / total, 3) for kind, (right, total) in sorted(counts.items())}
