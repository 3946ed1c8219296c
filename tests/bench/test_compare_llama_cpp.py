"""What tests/bench/compare_llama_cpp.sh does without llama.cpp: the model that it writes, what it
reads from both programs, its verdict on the machine."""

import array
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import types
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "llama_cpp"))

import compare  # noqa: E402
import llama_cpp  # noqa: E402
import quiet  # noqa: E402
import quire  # noqa: E402
import random_gguf  # noqa: E402
from work import SHORT, Decode, Failure, Prefill  # noqa: E402

QUIRE_CLI, QUIRE_BENCH = os.environ["QUIRE_CLI"], os.environ["QUIRE_BENCH"]
TINY = random_gguf.Shape(layers=2, hidden=64, intermediate=96, heads=4, kv_groups=2, head_dim=16,
                         vocab=320, positions=1024, rope_theta=10000.0, rope_factor=8.0,
                         rope_original_positions=128)
TIMEOUT = 120


def inspect(model):
    done = subprocess.run([QUIRE_CLI, "inspect", "--json", str(model)], capture_output=True,
                          text=True, timeout=TIMEOUT, check=True)
    return json.loads(done.stdout)


class FolderCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "random.gguf"


class RandomModelTest(FolderCase):
    def test_it_has_the_shape_that_quire_knows_by_name(self):
        random_gguf.write(self.model, random_gguf.LLAMA_32_1B, weights=False)
        written, known = inspect(self.model), inspect("llama-3.2-1b")
        self.assertEqual(written.pop("model"), "random")
        self.assertEqual(known.pop("model"), "llama-3.2-1b")
        self.assertEqual(written, known)

    def test_frequencies_are_scaled_as_in_llama_3(self):
        divisors = random_gguf.rope_divisors(random_gguf.LLAMA_32_1B)
        self.assertEqual(len(divisors), 32)
        self.assertEqual((divisors[0], divisors[-1]), (1, 32))
        self.assertEqual(divisors, sorted(divisors))
        # The wave of dimension 16 has 4,443 tokens: 0.28 of the way from 32 to 1.
        self.assertAlmostEqual(1 / divisors[16], 0.2814 + (1 - 0.2814) / 32, delta=1e-3)

    def test_weights_are_random_and_whole(self):
        random_gguf.write(self.model, TINY)
        data = self.model.read_bytes()
        self.assertEqual(len(data), random_gguf.file_bytes(TINY))
        values = array.array("f", b"".join(b"\0\0" + data[i:i + 2] for i in range(
            len(data) - 2 * 96 * 64, len(data), 2)))
        self.assertAlmostEqual(statistics.fmean(values), 0, delta=0.002)
        self.assertAlmostEqual(statistics.pstdev(values), 0.02, delta=0.002)
        again = self.folder / "again.gguf"
        random_gguf.write(again, TINY)
        self.assertEqual(again.read_bytes(), data)

    def test_quire_computes_with_it(self):
        random_gguf.write(self.model, TINY)
        works = [Prefill("prefill24", 24, 3, (8,)), Decode("decode2", 2, (8, 16), 4)]
        engine = quire.Quire(pathlib.Path(QUIRE_BENCH), 1)
        for work in works:
            self.assertGreater(engine.measure(work, self.model, "bf16"), 0)


class OutputTest(unittest.TestCase):
    def test_a_piece_of_decode_is_all_of_its_steps(self):
        work = Decode("decode4", 4, (128, 130), 2)
        result = {"phase": "decode", "batch": 4}
        report = {"results": [{"phase": "prefill", "batch": 1, "context_tokens": 129,
                               "seconds_median": 9, "tokens_per_second": 1},
                              *({**result, "context_tokens": 129 + i, "seconds_median": seconds}
                                for i, seconds in enumerate((0.1, 0.3, 0.2, 0.2)))]}
        rates = quire.decode_rates(report, work)
        self.assertEqual([round(rate, 6) for rate in rates], [20, 20])
        self.assertEqual(quire.prefill_rates(report), [1])

    def test_llama_bench_is_read_by_settings(self):
        test = {"n_batch": 512, "n_threads": 2, "n_prompt": 512, "n_gen": 0, "avg_ts": 1.0}
        output = json.dumps([
            {**test, "n_ubatch": 128, "flash_attn": 1, "samples_ts": [68.3795, 101.804]},
            {**test, "n_ubatch": 128, "flash_attn": 0, "samples_ts": [4459.86, 32493.2]}])
        self.assertEqual(llama_cpp.bench_rates(output), {
            llama_cpp.Settings("on", 128): [68.3795, 101.804],
            llama_cpp.Settings("off", 128): [4459.86, 32493.2]})

    def test_llama_batched_bench_is_read_by_batch(self):
        piece = ('{{"n_kv_max": 512, "flash_attn": 1, "pp": {}, "tg": 8, "pl": {}, "t_tg": 0.5, '
                 '"speed_tg": {}, "t": 0.022016, "speed": 6177.325684}}')
        output = "\n".join(["", piece.format(128, 1, 592.98), piece.format(128, 2, 273.7),
                            "a log's line", piece.format(136, 1, 804.5), ""])
        self.assertEqual(llama_cpp.batched_bench_rates(output), {1: [592.98, 804.5], 2: [273.7]})

    def test_the_last_lines_are_verdict_and_ratios(self):
        engines = [types.SimpleNamespace(name=name) for name in ("Quire", "llama.cpp")]
        comparison = compare.Comparison(*engines, SHORT[:2], "bf16")
        comparison.settings = {work.name: llama_cpp.Settings("on", 256) for work in SHORT[:2]}
        comparison.rates = {"prefill512": {"Quire": [300, 100, 200], "llama.cpp": [90, 100, 400]},
                            "decode1": {"Quire": [10], "llama.cpp": [20]}}
        comparison.disturbances = {"one run": quiet.Disturbance(0.12, 0, 0)}
        *_, verdict, ratios = comparison.lines()
        self.assertEqual(verdict, "verdict not quiet: steal 12 % in one run; 1 of 1 runs disturbed")
        self.assertEqual(ratios, "ratios prefill512=2.000 decode1=0.500")
        self.assertFalse(comparison.report()["quiet"])

    def test_contexts_of_short_works_grow_from_128_to_192(self):
        for work in SHORT[1:]:
            contexts = [context for start in work.starts for context in work.contexts(start)]
            self.assertEqual(contexts, list(range(129, 193)))

    def test_an_unknown_precision_is_an_error(self):
        help_text = "  --weights TEXT:{bf16,int8}\n       Types\n  --json TEXT  int4, not here\n"
        self.assertEqual(quire.weight_options(help_text, "int8"),
                         ["--dtype", "bf16", "--weights", "int8"])
        with self.assertRaisesRegex(Failure, "--weights int4"):
            quire.weight_options(help_text, "int4")
        with self.assertRaisesRegex(Failure, "--weights int8"):
            quire.weight_options("  --json TEXT   int8\n", "int8")
        done = subprocess.run([str(FOLDER / "compare_llama_cpp.sh"), "--precision", "int3"],
                              capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("'int3' is none of bf16, int8, int4", done.stderr)


class VerdictTest(FolderCase):
    """What the kernel's files say, in ticks of 10 ms: user, nice, system, idle, ..., steal."""

    def snapshot(self, seconds, ticks, waited, own):
        (self.folder / "pressure").mkdir(exist_ok=True)
        (self.folder / "stat").write_text("cpu  " + " ".join(map(str, ticks)) + " 0 0\ncpu0 1\n")
        (self.folder / "pressure/cpu").write_text(
            f"some avg10=12.50 avg60=0.00 avg300=0.00 total={waited}\nfull avg10=0.00 total=0\n")
        taken = quiet.snapshot(self.folder)
        return dataclasses.replace(taken, seconds=seconds, own_seconds=own)

    def disturbance(self, ticks, waited, own):
        """Of a second on two cores."""
        before = self.snapshot(5, (100, 0, 0, 900, 0, 0, 0, 7), 1_000_000, 3)
        after = self.snapshot(6, [a + b for a, b in zip((100, 0, 0, 900, 0, 0, 0, 7), ticks)],
                              1_000_000 + waited, 3 + own)
        return quiet.disturbance(before, after, ticks_per_second=100)

    def test_shares_are_of_what_passed(self):
        found = self.disturbance((90, 20, 10, 40, 0, 0, 0, 40), 300_000, 0.8)
        self.assertAlmostEqual(found.steal, 0.2)
        self.assertAlmostEqual(found.others, 0.2)
        self.assertAlmostEqual(found.pressure, 0.3)
        self.assertEqual(found.worse(), ["steal 20 %", "CPU pressure 30 %", "others' processes 20 %"])

    def test_each_kind_alone_is_too_much(self):
        calm = self.disturbance((190, 0, 6, 2, 0, 0, 0, 2), 50_000, 1.92)
        self.assertEqual(calm.worse(), [])
        stolen = self.disturbance((190, 0, 0, 0, 0, 0, 0, 10), 0, 1.9)
        pressed = self.disturbance((190, 0, 0, 10, 0, 0, 0, 0), 120_000, 1.9)
        shared = self.disturbance((150, 40, 0, 10, 0, 0, 0, 0), 0, 1.5)
        for one, why in ((stolen, "steal 5 %"), (pressed, "CPU pressure 12 %"),
                         (shared, "others' processes 20 %")):
            self.assertEqual(one.worse(), [why])
            self.assertEqual(quiet.verdict({"a": calm, "b": one, "c": calm}),
                             f"not quiet: {why} in b; 1 of 3 runs disturbed")
        self.assertEqual(quiet.verdict({"a": calm, "b": calm}), "quiet")

    def test_a_kernel_without_pressure_leaves_the_rest(self):
        before = self.snapshot(5, (0, 0, 0, 0, 0, 0, 0, 0), 0, 0)
        (self.folder / "pressure/cpu").unlink()
        (self.folder / "stat").write_text("cpu  190 0 0 0 0 0 0 10 0 0\n")
        after = dataclasses.replace(quiet.snapshot(self.folder), own_seconds=1.9)
        found = quiet.disturbance(before, after, ticks_per_second=100)
        self.assertEqual((found.pressure, found.worse()), (None, ["steal 5 %"]))


if __name__ == "__main__":
    unittest.main()
