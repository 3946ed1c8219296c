"""What the number of KV groups does to the demo model's answers.

  python group_quality.py --tokenizer DIR/tokenizer.json --quire build/bin/quire --out RUNS

For each seed: trains a multi-head parent; gives it fewer groups with `quire regroup`, and scores that as
it is and after 5 % and 10 % of the parent's training; trains models of as many groups from scratch, with
the parent's recipe. Scores go to OUT/results.jsonl one by one: what is there already is not done again.

  python group_quality.py --out RUNS --summary group_quality.json     puts the seeds together
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import time

import torch
from safetensors.torch import load_file

import train
from documents import evaluation_prompts
from evaluation_set import SETS
from export import export, state_of_llama
from model import DemoModel, ModelShape
from scoring import score
from tokenizer import StoryEncoder

HEADS = ModelShape.heads
UPTRAINED = (0.05, 0.10)  # of the parent's tokens
METHODS = ("mean", "first", "random")  # of regrouping; the first is uptrained


@dataclasses.dataclass(frozen=True)
class Variant:
  """A model of one seed. `origin`: scratch, or how `quire regroup` made it of the parent."""

  seed: int
  groups: int
  origin: str = "scratch"
  uptrained: float = 0.0

  @property
  def folder(self) -> str:
    return f"seed{self.seed}-{self.origin}-{self.groups}-{round(100 * self.uptrained)}"

  @property
  def parent(self) -> Variant:
    return Variant(self.seed, HEADS)


def variants(seed: int) -> list[Variant]:
  """Parents first."""
  fewer = [g for g in range(HEADS - 1, 0, -1) if HEADS % g == 0]
  regrouped = [Variant(seed, g, method) for g in fewer for method in METHODS]
  # The parent as well, so that what the additional training alone does can be told apart.
  uptrained = [Variant(seed, g, METHODS[0], share) for g in (HEADS, *fewer) for share in UPTRAINED]
  return [Variant(seed, HEADS), *regrouped, *uptrained, *(Variant(seed, g) for g in fewer)]


class Laboratory:
  """Trains, regroups and scores; keeps everything below one folder."""

  def __init__(self, args: argparse.Namespace):
    self._args = args
    self._encode = StoryEncoder(args.tokenizer)
    self._sets = [evaluation_prompts(self._encode, count // 2, *which) for count, *which in SETS]
    self._results = args.out / "results.jsonl"
    args.out.mkdir(parents=True, exist_ok=True)

  def done(self) -> set[Variant]:
    return {Variant(**{field.name: row[field.name] for field in dataclasses.fields(Variant)})
            for row in read_results(self._args.out)}

  def score(self, variant: Variant) -> None:
    started = time.monotonic()
    checkpoint = torch.load(self.checkpoint(variant), weights_only=False)
    model = DemoModel(ModelShape(**checkpoint["shape"]))
    model.load_state_dict(checkpoint["model"])
    short, long = (score(model, self._encode, prompts) for prompts in self._sets)
    row = {**dataclasses.asdict(variant), "exact_short": short.exact, "exact_long": long.exact,
           "answer_perplexity": long.answer_perplexity, "text_perplexity": long.prompt_perplexity,
           "train_seconds": checkpoint.get("progress", {}).get("seconds", 0.0)}
    with self._results.open("a") as out:
      out.write(json.dumps(row) + "\n")
    print(f"{variant.folder}: {short.exact:.1%} {long.exact:.1%}, scored in "
          f"{time.monotonic() - started:.0f} s", flush=True)

  def checkpoint(self, variant: Variant) -> pathlib.Path:
    """Its weights, made where they are not there yet."""
    path = self._args.out / variant.folder / "last.pt"
    if variant.origin == "scratch":
      self._train(variant, ["--mtok", f"{self._args.mtok}"])
    elif variant.uptrained:
      start = variant.parent if variant.groups == HEADS else dataclasses.replace(variant, uptrained=0.0)
      self._train(variant, ["--mtok", f"{self._args.mtok * variant.uptrained}", "--decay", "1",
                            "--start", str(self.checkpoint(start))])
    elif not path.exists():
      self._regroup(variant, path)
    return path

  def _train(self, variant: Variant, options: list[str]) -> None:
    folder = self._args.out / variant.folder
    args = train.parse_args([
        "--tokenizer", str(self._args.tokenizer), "--out", str(folder), "--direct-mtok", "0",
        "--seed", f"{variant.seed}", "--groups", f"{variant.groups}", "--pace",
        f"{self._args.mtok / 18}", "--eval-mtok", "1", *options])
    folder.mkdir(exist_ok=True)
    trainer = train.Trainer(args)
    if (folder / "last.pt").exists():
      trainer.resume(folder / "last.pt")
    if trainer.progress.tokens < args.mtok * 1e6:
      print(f"{variant.folder}: training", flush=True)
      train.run(trainer, args)

  def _regroup(self, variant: Variant, path: pathlib.Path) -> None:
    parent = self._args.out / variant.parent.folder
    if not (parent / "llama").exists():
      export(torch.load(self.checkpoint(variant.parent), weights_only=False), parent / "llama")
    folder = path.parent
    folder.mkdir(exist_ok=True)
    seed = ["--seed", f"{variant.seed}"] if variant.origin == "random" else []
    subprocess.run([self._args.quire, "regroup", parent / "llama", folder / "llama", "--groups",
                    f"{variant.groups}", "--method", variant.origin, *seed],
                   check=True, stdout=subprocess.DEVNULL)
    shape = ModelShape(groups=variant.groups)
    torch.save({"shape": dataclasses.asdict(shape),
                "model": state_of_llama(shape, load_file(folder / "llama/model.safetensors"))}, path)


def read_results(folder: pathlib.Path) -> list[dict]:
  path = folder / "results.jsonl"
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summary(rows: list[dict]) -> dict:
  """For each kind of model the mean, the least and the most over the seeds: what
  `quire-bench groups --quality` reads."""
  kinds: dict[tuple, list[dict]] = {}
  for row in rows:
    kinds.setdefault((row["origin"], row["uptrained"], row["groups"]), []).append(row)
  result = []
  for (origin, uptrained, groups), found in sorted(kinds.items()):
    entry = {"groups": groups, "origin": origin, "uptrained": uptrained, "seeds": len(found)}
    for name in ("exact_short", "exact_long", "answer_perplexity", "text_perplexity"):
      values = [row[name] for row in found]
      entry[name] = {"mean": round(statistics.mean(values), 4), "min": round(min(values), 4),
                     "max": round(max(values), 4)}
    entry["train_seconds"] = round(sum(row["train_seconds"] for row in found))
    result.append(entry)
  return {"query_heads": HEADS, "results": result}


def parse_args() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of all runs")
  parser.add_argument("--tokenizer", type=pathlib.Path)
  parser.add_argument("--quire", type=pathlib.Path, help="the quire command")
  parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
  parser.add_argument("--mtok", type=float, default=6.0,
                      help="million tokens of a model from scratch; the curriculum is fitted to it")
  parser.add_argument("--summary", type=pathlib.Path,
                      help="train nothing; write what there is to this file")
  args = parser.parse_args()
  if not args.summary and not (args.tokenizer and args.quire):
    parser.error("--tokenizer and --quire are needed to train")
  return args


def main() -> None:
  args = parse_args()
  if args.summary:
    args.summary.write_text(json.dumps(summary(read_results(args.out)), indent=1) + "\n")
    return
  torch.set_num_threads(1)
  laboratory = Laboratory(args)
  done = laboratory.done()
  for seed in args.seeds:
    for variant in variants(seed):
      if variant not in done:
        laboratory.score(variant)


if __name__ == "__main__":
  main()
