"""Weights and KV in integers: what the model then knows, and what they take."""

import json
import os
import pathlib
import unittest
import unittest.mock

from demo_prompts import answered
from quire_server import MODEL, QuireServer, quire, run_to_end

PROMPTS = 64
HEAD_DIM = json.loads(pathlib.Path(MODEL, "config.json").read_text(encoding="utf-8"))["head_dim"]


def weight_bytes(server):
    return server.metrics().value("quire_memory_bytes", kind="weights")


class WeightsTest(unittest.TestCase):
    def test_they_answer_in_less_memory(self):
        with QuireServer() as server:
            dense = weight_bytes(server)
        # The table of the demo model, a tenth of it, has 8 bits beside 4.
        for weights, right, share in (("int8", 0.98, 0.53), ("int4", 0.85, 0.35)):
            with self.subTest(weights=weights), QuireServer("--weights", weights) as server:
                self.assertGreaterEqual(answered(server, PROMPTS), right * PROMPTS)
                self.assertLess(weight_bytes(server), share * dense)

    def test_so_does_kv(self):
        def block_bytes(server):
            return server.metrics().value("quire_kv_block_bytes", cache_class="full")

        with QuireServer() as server:
            dense = block_bytes(server)
        for flags in ([], ["--weights", "int8"]):
            with self.subTest(flags=flags), QuireServer("--kv-dtype", "int8", *flags) as server:
                self.assertGreaterEqual(answered(server, PROMPTS), 0.98 * PROMPTS)
                # A byte an element, and a scale of 4 for every row of a head.
                self.assertEqual(block_bytes(server), dense * (HEAD_DIM + 4) / (2 * HEAD_DIM))

    def test_a_gpu_has_none(self):
        gpu = {"QUIRE_SERVER": os.environ["QUIRE_SERVER_ON_EMULATED_GPU"]}
        with unittest.mock.patch.dict(os.environ, gpu):
            code, error = run_to_end("--weights", "int8", "--device", "cuda")
        self.assertEqual(code, 1)
        self.assertIn("a GPU has no weights in int8; leave out --weights", error)
        with unittest.mock.patch.dict(os.environ, gpu):
            code, error = run_to_end("--kv-dtype", "int8", "--device", "cuda")
        self.assertEqual(code, 1)
        self.assertIn("no KV cache in int8; use --kv-dtype fp8_e4m3 or auto", error)

    def test_the_plan_says_what_they_take(self):
        for weights in ("dense", "int8", "int4"):
            with self.subTest(weights=weights), QuireServer("--weights", weights) as server:
                plan = json.loads(quire("plan", MODEL, "--groups", "own", "--weights", weights,
                                        "--json"))
                planned = plan["rows"][0]["weight_bytes"]
                # The scale of an output, which a plan leaves out, counts where rows are as short.
                self.assertAlmostEqual(weight_bytes(server) / planned, 1, delta=0.05)


if __name__ == "__main__":
    unittest.main()
