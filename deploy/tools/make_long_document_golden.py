"""Writes the golden logprobs of the long-document scenario: transformers' for its first tokens.

  python deploy/tools/make_long_document_golden.py

Needs deploy/tools/demo_model/requirements.txt. The model and the document are those of
tests/e2e/long_document.py; the result is tests/golden/data/long_document.json.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import long_document  # noqa: E402


def main() -> None:
  tokens = torch.tensor([long_document.document()[:long_document.PREFIX_TOKENS]])
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model"
    long_document.write_model(path, ROOT / "deploy/models/quire-demo", 1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
      logprobs = model(tokens).logits[0, :-1].log_softmax(-1)
  known = logprobs.gather(1, tokens[0, 1:, None])[:, 0]
  file = ROOT / "tests/golden/data/long_document.json"
  file.write_text(json.dumps([round(value, 4) for value in known.tolist()]) + "\n")
  print(f"{file}: {len(known)} logprobs, {known.mean():.3f} on average")


if __name__ == "__main__":
  main()
