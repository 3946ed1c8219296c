"""Weights in integers: what the model then knows, and what they take."""

import json
import os
import unittest
import unittest.mock

from demo_prompts import answered
from quire_server import MODEL, QuireServer, quire, run_to_end

PROMPTS = 64


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

    def test_a_gpu_has_none(self):
        gpu = {"QUIRE_SERVER": os.environ["QUIRE_SERVER_ON_EMULATED_GPU"]}
        with unittest.mock.patch.dict(os.environ, gpu):
            code, error = run_to_end("--weights", "int8", "--device", "cuda")
        self.assertEqual(code, 1)
        self.assertIn("a GPU has no weights in int8; leave out --weights", error)

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
