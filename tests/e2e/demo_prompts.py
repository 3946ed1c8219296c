"""Questions that the demo models answer."""

import json
import pathlib

from quire_server import Answer

ROOT = pathlib.Path(__file__).parents[2]


def answered(server, prompts):
    """How many of the first prompts of the evaluation the server's model answers exactly."""
    with open(ROOT / "tests/golden/data/demo_eval.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:prompts]
    calls = [server.generate(row["prompt"], max_tokens=16, temperature=0) for row in rows]
    return sum(Answer(call).read().text == f" {row['answer']}." for row, call in zip(rows, calls))
