"""Trains the demo model's byte-level BPE tokenizer on generated stories (Hugging Face tokenizers).

  python tokenizer.py --out DIR/tokenizer.json
"""

from __future__ import annotations

import argparse
import pathlib
import random
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from stories import WORDS, Story

END = "<|end|>"
END_ID = 0
VOCAB_SIZE = 768


def corpus(seed: int, documents: int) -> Iterator[str]:
  rng = random.Random(seed)
  for _ in range(documents):
    story = Story(rng)
    facts = [story.next_fact() for _ in range(12)]
    questions = [question for fact in facts for question in fact.questions]
    yield ("Story: " + " ".join(fact.sentence for fact in facts) +
           "".join(f"{question.prompt()} {question.answer}." for question in questions) + "\n")


def train(seed: int = 0, documents: int = 3000) -> Tokenizer:
  """GPT-2 style byte-level BPE; encoding adds END as the first token unless asked not to."""
  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
  tokenizer.decoder = decoders.ByteLevel()
  tokenizer.train_from_iterator(corpus(seed, documents), trainers.BpeTrainer(
      vocab_size=VOCAB_SIZE, special_tokens=[END], show_progress=False,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
  tokenizer.post_processor = processors.TemplateProcessing(
      single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, END_ID)])
  return tokenizer


class StoryEncoder:
  """Encodes text without the first END token; remembers sentences already seen."""

  def __init__(self, path: pathlib.Path):
    self._tokenizer = Tokenizer.from_file(str(path))
    self._seen: dict[str, list[int]] = {}

  def __call__(self, text: str) -> list[int]:
    ids = self._seen.get(text)
    if ids is None:
      ids = self._tokenizer.encode(text, add_special_tokens=False).ids
      if len(self._seen) < 200_000:
        self._seen[text] = ids
    return ids


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  tokenizer = train(args.seed)
  split = [word for word in WORDS if len(tokenizer.encode(" " + word).ids) != 2]
  args.out.parent.mkdir(parents=True, exist_ok=True)
  tokenizer.save(str(args.out))
  print(f"{args.out}: {tokenizer.get_vocab_size()} ids; words of more than one token: {split}")


if __name__ == "__main__":
  main()
