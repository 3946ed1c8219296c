"""Writes the golden files of the model and tokenizer tests; run it again for a new demo model.

  python deploy/tools/make_goldens.py
  python deploy/tools/make_goldens.py --models mistral_window qwen3_head_norms

Needs deploy/tools/demo_model/requirements.txt. Reads deploy/models/quire-demo, writes under
tests/golden/data: tiny checkpoints (models/), their logits and the demo model's (logits/), and the
tokenizer's encodings. The evaluation prompts there come from demo_model/evaluation_set.py.
"""

from __future__ import annotations

import argparse
import pathlib

import torch
from tokenizers import Tokenizer

from goldens.logits import write_logits
from goldens.tiny_models import MODELS, tiny_prompts, write_tiny_model
from goldens.tokenizer import write_tokenizer_goldens

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO_TEXTS = (
    "", "Story: Tom",
    "Story: In the green chest 5 pink onions lie. Nora has 17 red marbles. Mara went to the theatre. "
    "In the golden bag Otto put 5 white pears. The road was quiet. Felix likes frogs."
    "\nQ: What is in the green chest?\nA:")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--demo", type=pathlib.Path, default=ROOT / "deploy/models/quire-demo")
  parser.add_argument("--data", type=pathlib.Path, default=ROOT / "tests/golden/data")
  parser.add_argument("--models", nargs="+", metavar="NAME", default=None,
                      help="write these tiny checkpoints and their logits, and nothing else")
  args = parser.parse_args()
  torch.set_num_threads(1)
  logits = args.data / "logits"
  logits.mkdir(parents=True, exist_ok=True)
  for model in MODELS:
    if args.models is not None and model.name not in args.models:
      continue
    folder = args.data / "models" / model.name
    write_tiny_model(model, folder)
    write_logits(folder, tiny_prompts(model), logits / f"{model.name}.safetensors")
    print(f"{folder}: done")
  if args.models is not None:
    return
  tokenizer = Tokenizer.from_file(str(args.demo / "tokenizer.json"))
  write_logits(args.demo, [tokenizer.encode(text).ids for text in DEMO_TEXTS],
               logits / "quire-demo.safetensors")
  write_tokenizer_goldens(args.demo / "tokenizer.json", args.data)


if __name__ == "__main__":
  main()
