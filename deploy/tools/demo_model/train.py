"""Trains the demo model on one core; resumes from its last checkpoint.

  python train.py --tokenizer DIR/tokenizer.json --out RUN
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import random
import time

import torch
import torch.nn.functional as F

from documents import Mixture, evaluation_prompts, training_document
from model import DemoModel, ModelShape
from optimizer import MuonAdamW
from precision import autocast
from priming import prime
from scoring import score, share_by_kind
from tokenizer import StoryEncoder

# Millions of tokens here are at pace 1. Until so many of them, lengths are drawn from these.
LENGTHS = ((0.4, (64,)), (1.2, (128,)), (3.5, (128, 256)), (7.0, (128, 256, 512)),
           (float("inf"), (256, 512, 1024)))
REPEAT_MTOK = 0.3              # word lists fade out until here
RECAP_MTOK = 2.5               # recaps fade from RECAP_SHARE[0] to RECAP_SHARE[1] until here
RECAP_SHARE = (0.5, 0.05)
COLLIDE_SHARE = 0.35
NEAR_MISS_MTOK = 7.0           # from here on so many stories have near misses among the containers
NEAR_MISS_SHARE = 0.4
STORY_WEIGHT = 0.05            # of a story token in the loss; an answer token has 1
WARM_UP_STEPS = 50
WEIGHT_DECAY = 1e-4            # of the weights a step, at the full learning rate


@dataclasses.dataclass
class Progress:
  """What a checkpoint resumes, besides model and optimizer."""

  tokens: int = 0
  steps: int = 0
  seconds: float = 0.0
  best: float = 0.0


def mixture(mtok: float, direct_mtok: float) -> Mixture:
  start, floor = RECAP_SHARE
  return Mixture(repeat=max(0.0, 1 - mtok / REPEAT_MTOK),
                 recap=max(floor, start * (1 - mtok / RECAP_MTOK)), collide=COLLIDE_SHARE,
                 near_miss=NEAR_MISS_SHARE if mtok >= NEAR_MISS_MTOK else 0.0,
                 direct=mtok >= direct_mtok)


class Trainer:
  """Owns model, optimizer, data and random state of one run."""

  def __init__(self, args: argparse.Namespace):
    torch.manual_seed(args.seed)
    self._args = args
    self.model = DemoModel(ModelShape(groups=args.groups))
    if args.start:
      self.model.load_state_dict(torch.load(args.start, weights_only=False)["model"])
    else:
      prime(self.model)
    self._optimizer = MuonAdamW(self.model, args.muon_lr, args.adamw_lr, WEIGHT_DECAY)
    self._rng = random.Random(args.seed)
    self._encode = StoryEncoder(args.tokenizer)
    self.progress = Progress()
    self._validation = (evaluation_prompts(self._encode, 200, 777, 100, 500),
                        evaluation_prompts(self._encode, 100, 778, 500, 1000))

  def step(self) -> tuple[float, float]:
    """One update; returns the mean loss of answer and story tokens."""
    mtok = self._curriculum_mtok()
    length = self._rng.choice(next(lengths for until, lengths in LENGTHS if mtok < until))
    inputs, targets, is_answer = self._batch(length, mtok)
    with autocast():
      logits = F.linear(self.model(inputs), self.model.embed_tokens)
    losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    weights = is_answer * (1 - STORY_WEIGHT) + STORY_WEIGHT
    ((losses * weights).sum() / weights.sum()).backward()
    self._optimizer.step(self._rate_factor())
    self.progress.tokens += inputs.numel()
    self.progress.steps += 1
    answers = is_answer.bool()
    losses = losses.detach()
    return losses[answers].mean().item(), losses[~answers].mean().item()

  def validate(self) -> tuple[float, str]:
    """(share of exact answers, its details); the two length ranges count alike."""
    shares, details = [], []
    for prompts in self._validation:
      hits = score(self.model, self._encode, prompts).hits
      shares.append(sum(hits) / len(hits))
      details.append(f"{shares[-1]:.3f} {share_by_kind(prompts, hits)}")
    return sum(shares) / len(shares), " | ".join(details)

  def save(self, path: pathlib.Path) -> None:
    part = path.with_suffix(".part")
    torch.save({"shape": dataclasses.asdict(self.model.shape), "model": self.model.state_dict(),
                "optimizer": self._optimizer.state_dict(), "rng": self._rng.getstate(),
                "progress": dataclasses.asdict(self.progress), "args": vars(self._args)}, part)
    part.replace(path)

  def resume(self, path: pathlib.Path) -> None:
    state = torch.load(path, weights_only=False)
    self.model.load_state_dict(state["model"])
    self._optimizer.load_state_dict(state["optimizer"])
    self._rng.setstate(state["rng"])
    self.progress = Progress(**state["progress"])

  def _batch(self, length: int, mtok: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mix = mixture(mtok, self._args.direct_mtok)
    examples = [training_document(self._rng, self._encode, length, mix).example(length)
                for _ in range(max(1, self._args.batch // length))]
    inputs, targets, is_answer = zip(*examples)
    return torch.tensor(inputs), torch.tensor(targets), torch.tensor(is_answer).flatten()

  def _curriculum_mtok(self) -> float:
    # A model that was trained before has been through all of it.
    return 1e9 if self._args.start else self.progress.tokens / 1e6 / self._args.pace

  def _rate_factor(self) -> float:
    warm_up = min(1.0, (self.progress.steps + 1) / WARM_UP_STEPS)
    left = 1 - self.progress.tokens / 1e6 / self._args.mtok
    return warm_up * min(1.0, left / self._args.decay)


def run(trainer: Trainer, args: argparse.Namespace) -> None:
  progress, losses = trainer.progress, []
  started = time.monotonic() - progress.seconds
  due = progress.tokens + args.eval_mtok * 1e6
  end = min(args.mtok, args.stop_mtok) * 1e6
  while progress.tokens < end:
    losses.append(trainer.step())
    if progress.tokens < due and progress.tokens < end:
      continue
    due += args.eval_mtok * 1e6
    progress.seconds = time.monotonic() - started
    share, details = trainer.validate()
    answer, story = (sum(values) / len(losses) for values in zip(*losses))
    losses = []
    print(f"{progress.tokens / 1e6:6.2f} Mtok {progress.seconds:6.0f} s "
          f"answer {answer:.3f} story {story:.3f} exact {share:.3f}: {details}", flush=True)
    if share >= progress.best:
      progress.best = share
      trainer.save(args.out / "best.pt")
    trainer.save(args.out / "last.pt")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the checkpoints")
  parser.add_argument("--resume", action="store_true", help="go on from OUT/last.pt")
  parser.add_argument("--seed", type=int, default=1)
  parser.add_argument("--mtok", type=float, default=18.0, help="million tokens to train on")
  parser.add_argument("--stop-mtok", type=float, default=float("inf"),
                      help="stop here already, to go on with other options")
  parser.add_argument("--groups", type=int, default=ModelShape.groups, help="key/value heads")
  parser.add_argument("--start", type=pathlib.Path,
                      help="go on from this checkpoint's weights, with a fresh optimizer and at the "
                      "curriculum's end")
  parser.add_argument("--pace", type=float, default=1.0,
                      help="0.5: the curriculum goes through its stages in half of the tokens")
  parser.add_argument("--direct-mtok", type=float, default=9.5,
                      help="from here on, at pace 1, stories are told as in the evaluation")
  parser.add_argument("--batch", type=int, default=2048, help="tokens a step")
  parser.add_argument("--muon-lr", type=float, default=0.01)
  parser.add_argument("--adamw-lr", type=float, default=2e-3)
  parser.add_argument("--decay", type=float, default=0.4,
                      help="share of the training over which the learning rate falls to 0")
  parser.add_argument("--eval-mtok", type=float, default=0.5)
  return parser.parse_args(arguments)


def main() -> None:
  args = parse_args()
  torch.set_num_threads(1)
  args.out.mkdir(parents=True, exist_ok=True)
  trainer = Trainer(args)
  if args.resume:
    trainer.resume(args.out / "last.pt")
  parameters = sum(p.numel() for p in trainer.model.parameters())
  print(f"{parameters / 1e6:.2f} M parameters, {vars(args)}", flush=True)
  run(trainer, args)


if __name__ == "__main__":
  main()
