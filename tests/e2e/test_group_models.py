"""The set of models with different numbers of KV groups: all answer, at a share of the memory; what
regrouping alone would leave; and the table that puts quality beside cost."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from demo_prompts import ROOT, answered
from quire_server import TIMEOUT, QuireServer, quire

MODELS = ROOT / "deploy/models/quire-demo-groups"
QUALITY = MODELS / "group_quality.json"
PROMPTS = 64


def exact(model):
    """How many of the prompts it answers exactly, and the bytes of KV a token."""
    with QuireServer("--model", str(model)) as server:
        right = answered(server, PROMPTS)
    inspected = json.loads(quire("inspect", str(model), "--json"))
    return right, sum(each["token_bytes"] for each in inspected["kv_classes"])


class GroupModelsTest(unittest.TestCase):
    def test_each_answers_at_its_share_of_the_memory(self):
        found = {groups: exact(MODELS / str(groups)) for groups in (6, 3, 1)}
        for groups, (right, token_bytes) in found.items():
            with self.subTest(groups=groups):
                self.assertGreaterEqual(right, 0.95 * PROMPTS)
                self.assertEqual(token_bytes * 6, found[6][1] * groups)

    def test_without_training_it_does_not(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "1"
            quire("regroup", str(MODELS / "6"), str(out), "--groups", "1")
            right, _ = exact(out)
        self.assertLess(right, 0.7 * PROMPTS)

    def test_the_table_has_quality_and_cost(self):
        with tempfile.TemporaryDirectory() as folder:
            name = pathlib.Path(folder) / "groups.json"
            result = subprocess.run(
                [os.environ["QUIRE_BENCH"], "groups", MODELS / "6", "--quality", QUALITY, "--users",
                 "0", "--repeat", "1", "--batch", "1", "--context", "64", "--prompt", "64",
                 "--no-prediction", "--json", name],
                capture_output=True, text=True, timeout=TIMEOUT, check=True)
            measured = json.loads(name.read_text())
        self.assertRegex(result.stdout, r"regrouped +uptrained 10% +from scratch")
        summary = json.loads(QUALITY.read_text())
        expected = {row["groups"]: row["exact_long"]["mean"] for row in summary["results"]
                    if row["origin"] == "mean" and row["uptrained"] == 0.1}
        self.assertEqual({row["kv_groups"]: row["quality"]["uptrained"]["exact"]
                          for row in measured["results"]}, expected)


if __name__ == "__main__":
    unittest.main()
