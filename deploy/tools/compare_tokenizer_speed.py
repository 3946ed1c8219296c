"""Encoding speed on one thread: Quire's tokenizer_bench beside the Hugging Face library, in turns.

  python deploy/tools/compare_tokenizer_speed.py build/release/bin/tokenizer_bench [FORM ...]

FORM names a folder of tests/golden/data/tokenizers (default: llama3 llama2 gemma). Texts: Quire's
sources and the conformance corpus, in prompts of 4 KiB. Needs deploy/tools/demo_model/requirements.txt.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/golden/data/tokenizers"
PROMPT_BYTES = 4096
ROUNDS = 5


def texts() -> dict[str, bytes]:
  code = "".join(path.read_text() for path in sorted((ROOT / "core").rglob("*.cc")))
  corpus = "\n".join(json.loads(line) for line in (DATA / "corpus.jsonl").read_text().splitlines())
  return {"code": code.encode(), "corpus": corpus.encode()}


def ours(bench: str, folder: pathlib.Path, file: str) -> float:
  out = subprocess.run([bench, str(folder), file, "3"], capture_output=True, text=True,
                       check=True).stdout
  return float(re.search(r"in 4 KiB prompts ([\d.]+) MB/s", out).group(1))


def theirs(tokenizer: Tokenizer, prompts: list[str], size: int) -> float:
  begin = time.perf_counter()
  tokenizer.encode_batch_fast(prompts, add_special_tokens=False)
  return size / (time.perf_counter() - begin) / 1e6


def main() -> None:
  bench, *forms = sys.argv[1:]
  print(f"{'form':10} {'text':8} {'Quire MB/s':>10} {'HF MB/s':>8} {'ratio':>6}")
  for form in forms or ["llama3", "llama2", "gemma"]:
    tokenizer = Tokenizer.from_file(str(DATA / form / "tokenizer.json"))
    for name, text in texts().items():
      prompts = [text[i:i + PROMPT_BYTES].decode(errors="ignore")
                 for i in range(0, len(text), PROMPT_BYTES)]
      with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        pairs = [(ours(bench, DATA / form, file.name), theirs(tokenizer, prompts, len(text)))
                 for _ in range(ROUNDS)]
      best = [max(values) for values in zip(*pairs)]
      print(f"{form:10} {name:8} {best[0]:10.1f} {best[1]:8.1f} {best[0] / best[1]:6.1f}", flush=True)


if __name__ == "__main__":
  main()
