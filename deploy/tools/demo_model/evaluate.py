"""Exact answers on the held-out prompts, by length and kind, beside trivial baselines.

  python evaluate.py --model deploy/models/quire-demo            offline, with transformers
  python evaluate.py --server 127.0.0.1:50051                    through a running server, no torch
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import random
from collections.abc import Callable, Iterable

from stories import Story

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUCKETS = ((100, 200), (200, 300), (300, 400), (400, 500), (500, 750), (750, 1000))
MAX_NEW_TOKENS = 16


@dataclasses.dataclass(frozen=True)
class Row:
  """One line of the prompts file, as evaluation_set.py writes it."""

  prompt: str
  answer: str
  kind: str
  length: int
  last_answer: str
  last_answer_of_kind: str


def read_prompts(path: pathlib.Path, limit: int) -> list[Row]:
  rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()]
  return rows[:limit] if limit else rows


def is_exact(row: Row, answer: str) -> bool:
  """The whole answer, its full stop, and then the end of the text."""
  return answer.rstrip("\n") == f" {row.answer}."


def baselines(rows: list[Row], stories: int = 4000) -> dict[str, float]:
  """Shares that need no reading: the commonest answers come from stories of the training kind."""
  rng, overall = random.Random(99), collections.Counter[str]()
  by_kind: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
  for _ in range(stories):
    for question in Story(rng, direct=True).next_fact().questions:
      overall[question.answer] += 1
      by_kind[question.kind][question.answer] += 1
  top = overall.most_common(1)[0][0]
  top_of_kind = {kind: counter.most_common(1)[0][0] for kind, counter in by_kind.items()}
  guesses: dict[str, Callable[[Row], str]] = {
      "most frequent answer": lambda row: top,
      "most frequent answer of the kind": lambda row: top_of_kind[row.kind],
      "last fact": lambda row: row.last_answer,
      "last fact of the kind": lambda row: row.last_answer_of_kind}
  return {name: share(guess(row) == row.answer for row in rows)
          for name, guess in guesses.items()}


def share(hits: Iterable[bool]) -> float:
  hits = list(hits)
  return round(sum(hits) / len(hits), 4) if hits else 0.0


def report(rows: list[Row], hits: list[bool]) -> dict:
  def where(keep: Callable[[Row], bool]) -> dict:
    chosen = [hit for row, hit in zip(rows, hits) if keep(row)]
    return {"prompts": len(chosen), "exact": share(chosen)}

  def between(low: int, high: int) -> dict:
    return where(lambda row: low <= row.length < high)

  def of_kind(kind: str) -> dict:
    return where(lambda row: row.kind == kind)

  kinds = sorted({row.kind for row in rows})
  short = [row for row in rows if row.length < 500]
  return {
      "up to 500 tokens": between(0, 500),
      "500 to 1000 tokens": between(500, 1001),
      "by length": {f"{low}-{high}": between(low, high) for low, high in BUCKETS},
      "by kind": {kind: of_kind(kind) for kind in kinds},
      "baselines up to 500 tokens": baselines(short) if short else {}}


def print_table(result: dict) -> None:
  def line(name: str, value: dict) -> None:
    print(f"{name:<36} {value['exact']:>7.1%}  of {value['prompts']}")

  for name in ("up to 500 tokens", "500 to 1000 tokens"):
    line(name, result[name])
  for name in ("by length", "by kind"):
    for key, value in result[name].items():
      line(f"  {key}", value)
  for name, value in result["baselines up to 500 tokens"].items():
    print(f"{'  baseline: ' + name:<36} {value:>7.1%}")


def make_answerer(args: argparse.Namespace) -> Callable[[str], str]:
  """Text of the prompt -> text of the greedy answer; imports only what the mode needs."""
  if args.server:
    from answer_by_server import ServerAnswerer
    return ServerAnswerer(args.server, args.proto, MAX_NEW_TOKENS)
  from answer_by_transformers import TransformersAnswerer
  return TransformersAnswerer(args.model, args.dtype, MAX_NEW_TOKENS)


def parse_args() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  where = parser.add_mutually_exclusive_group(required=True)
  where.add_argument("--model", type=pathlib.Path, help="folder of the model")
  where.add_argument("--server", help="HOST:PORT of a running server")
  parser.add_argument("--prompts", type=pathlib.Path,
                      default=ROOT / "tests/golden/data/demo_eval.jsonl")
  parser.add_argument("--proto", type=pathlib.Path, default=ROOT / "proto")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
  parser.add_argument("--concurrency", type=int, default=1, help="prompts in flight at once")
  parser.add_argument("--limit", type=int, default=0, help="only the first prompts")
  parser.add_argument("--json", type=pathlib.Path, help="also write the result here")
  parser.add_argument("--show-wrong", type=int, default=0, help="print so many wrong answers")
  return parser.parse_args()


def main() -> None:
  args = parse_args()
  rows = read_prompts(args.prompts, args.limit)
  answerer = make_answerer(args)
  with concurrent.futures.ThreadPoolExecutor(args.concurrency) as pool:
    answers = list(pool.map(answerer, [row.prompt for row in rows]))
  hits = [is_exact(row, answer) for row, answer in zip(rows, answers)]
  result = report(rows, hits)
  print_table(result)
  wrong = [(row, answer) for row, answer, hit in zip(rows, answers, hits) if not hit]
  for row, answer in wrong[:args.show_wrong]:
    print(f"{row.length} {row.prompt.splitlines()[-2]} -> {answer!r}, not {row.answer!r}")
  if args.json:
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
