"""What a weight format changes in a model's predictions, asked from running servers.

  python deploy/tools/compare_weights.py --server build/release/bin/quire-server \\
      --model deploy/models/quire-demo --prompts tests/golden/data/demo_eval.jsonl \\
      int8=--weights=int8 int4=--weights=int4 Q4_0=--model=FILE.gguf

Starts a server for the model as it is, and one for each NAME=FLAGS (several by commas; --model among
them replaces the model), one after the other. Each scores the same prompts with their answers. For
every token after the first: the Kullback-Leibler divergence of the variant's prediction from the
model's, over the model's 20 likeliest tokens and all the others as one, how often both think the same
token likeliest, and the perplexity. Needs what demo_model/answer_by_server.py needs.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/tools/demo_model"))

import grpc  # noqa: E402
from answer_by_server import generate_stubs  # noqa: E402

TOP = 20
START_SECONDS = 600
SCORE_SECONDS = 600


class Server:
  """A server of its own on a free port, ended with the block."""

  def __init__(self, binary: pathlib.Path, flags: list[str]):
    self._folder = tempfile.TemporaryDirectory()
    ports = pathlib.Path(self._folder.name, "ports")
    self._process = subprocess.Popen(
        [binary, *flags, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--port-file", ports,
         "--max-logprobs", f"{TOP}"], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + START_SECONDS
    while not ports.exists():
      if self._process.poll() is not None or time.monotonic() > end:
        self._process.kill()
        sys.exit(f"the server with {' '.join(flags)} did not start:\n{self._process.stderr.read()}")
      time.sleep(0.05)
    self.address = dict(line.split("=") for line in ports.read_text().splitlines())["listen"]

  def __enter__(self) -> Server:
    return self

  def __exit__(self, *_) -> None:
    self._process.terminate()
    self._process.communicate()
    self._folder.cleanup()


def score(address: str, stubs, texts: list[str]) -> list[tuple[float, dict[int, float]]]:
  """For every token after the first of each text: its logprob, and those of the likeliest tokens."""
  messages, services = stubs
  places = []
  with grpc.insecure_channel(address) as channel:
    stub = services.InferenceServiceStub(channel)
    for text in texts:
      request = messages.GenerateRequest(text=text, max_tokens=1, temperature=0.0,
                                         prompt_logprobs=TOP)
      for response in stub.Generate(request, timeout=SCORE_SECONDS):
        for logprob, top in zip(response.prompt_logprobs, response.prompt_top_logprobs):
          places.append((logprob, dict(zip(top.token_ids, top.logprobs))))
  return places


def divergence(model: dict[int, float], variant: dict[int, float]) -> float:
  """Over the model's likeliest tokens; one that the variant has not among its own is as likely there
  as the last of those at most."""
  least = min(variant.values())
  rest = [1.0, 1.0]
  total = 0.0
  for token, logprob in model.items():
    other = variant.get(token, least)
    total += math.exp(logprob) * (logprob - other)
    rest[0] -= math.exp(logprob)
    rest[1] -= math.exp(other)
  if min(rest) > 1e-9:
    total += rest[0] * math.log(rest[0] / rest[1])
  return max(total, 0.0)


def compare(model: list, variant: list) -> dict[str, float]:
  divergences = [divergence(a[1], b[1]) for a, b in zip(model, variant, strict=True)]
  same = [max(a[1], key=a[1].get) == max(b[1], key=b[1].get) for a, b in zip(model, variant)]
  return {"kl_mean": statistics.fmean(divergences),
          "kl_p99": statistics.quantiles(divergences, n=100)[98],
          "same_top": statistics.fmean(same), "perplexity": perplexity(variant)}


def perplexity(places: list) -> float:
  return math.exp(-statistics.fmean(logprob for logprob, _ in places))


def parse_args() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("variants", nargs="+", metavar="NAME=FLAGS")
  parser.add_argument("--server", type=pathlib.Path, required=True, help="the quire-server command")
  parser.add_argument("--model", type=pathlib.Path, required=True)
  parser.add_argument("--prompts", type=pathlib.Path, required=True,
                      help="JSON lines with a prompt and perhaps its answer")
  parser.add_argument("--limit", type=int, default=100, help="only the first prompts")
  parser.add_argument("--json", type=pathlib.Path, help="also write the result here")
  return parser.parse_args()


def main() -> None:
  args = parse_args()
  rows = [json.loads(line) for line in args.prompts.read_text().splitlines()][:args.limit]
  texts = [f"{row['prompt']} {row['answer']}." if "answer" in row else row["prompt"] for row in rows]
  stubs = generate_stubs(ROOT / "proto")
  with Server(args.server, ["--model", str(args.model)]) as server:
    model = score(server.address, stubs, texts)
  print(f"{len(texts)} prompts, {len(model)} tokens; perplexity as it is {perplexity(model):.4f}")
  print(f"{'weights':<12} {'KL mean':>10} {'KL p99':>10} {'same top':>9} {'perplexity':>11}")
  results = {}
  for variant in args.variants:
    name, _, flags = variant.partition("=")
    line = flags.split(",")
    if not any(flag.startswith("--model") for flag in line):
      line += ["--model", str(args.model)]
    with Server(args.server, line) as server:
      results[name] = compare(model, score(server.address, stubs, texts))
    row = results[name]
    print(f"{name:<12} {row['kl_mean']:>10.5f} {row['kl_p99']:>10.5f} {row['same_top']:>9.2%} "
          f"{row['perplexity']:>11.4f}", flush=True)
  if args.json:
    args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
  main()
