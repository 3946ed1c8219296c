"""Writes the held-out evaluation prompts as JSON lines, so that evaluating needs no torch.

  python evaluation_set.py --tokenizer DIR/tokenizer.json --out tests/golden/data/demo_eval.jsonl
"""

from __future__ import annotations

import argparse
import json
import pathlib

from documents import evaluation_prompts
from tokenizer import StoryEncoder

# (prompts, seed, shortest, longest); the seeds of the validation during training are others.
SETS = ((500, 4242, 100, 500), (200, 4243, 500, 1000))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  args = parser.parse_args()
  encode = StoryEncoder(args.tokenizer)
  prompts = [prompt for count, seed, shortest, longest in SETS
             for prompt in evaluation_prompts(encode, count, seed, shortest, longest)]
  args.out.parent.mkdir(parents=True, exist_ok=True)
  with args.out.open("w") as out:
    for prompt in prompts:
      out.write(json.dumps({
          "prompt": prompt.text, "answer": prompt.answer, "kind": prompt.kind,
          "length": prompt.length, "last_answer": prompt.last_answer,
          "last_answer_of_kind": prompt.last_answer_of_kind}) + "\n")
  print(f"{args.out}: {len(prompts)} prompts")


if __name__ == "__main__":
  main()
