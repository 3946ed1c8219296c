"""`quire regroup`: what it writes loads and runs, and what it says of it is true."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

CLI = os.environ["QUIRE_CLI"]
MODELS = pathlib.Path(__file__).parent.parent / "golden" / "data" / "models"
MHA = MODELS / "mha"
NOTE = "about 5 % of the pretraining steps"


def quire(*arguments):
    return subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True, timeout=60)


class Regroup(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.out = pathlib.Path(directory.name) / "out"

    def test_the_result_passes_every_check(self):
        result = quire("regroup", MHA, self.out, "--groups", 2)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertRegex(result.stdout, r"before +MHA: 4 query heads, 4 KV groups")
        self.assertRegex(result.stdout, r"after +GQA: 4 query heads, 2 KV groups")
        self.assertRegex(result.stdout, r"KV per token +1 KiB -> 512 B \(f32\)")
        self.assertIn(NOTE, result.stdout)
        self.assertNotIn("a list", result.stdout)
        checked = quire("check", self.out, "--no-tokenizer", "--threads", 1)
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_json_says_what_inspect_says(self):
        result = quire("regroup", MHA, self.out, "--groups-per-layer", "2,1", "--json",
                       "--max-shard-size", "50KiB", "--method", "random", "--seed", 7)
        self.assertEqual(result.returncode, 0, result.stderr)
        said = json.loads(result.stdout)
        self.assertEqual(said["kv_groups"], {"before": [4, 4], "after": [2, 1]})
        self.assertEqual((said["method"], said["seed"]), ("random", 7))
        self.assertIn(NOTE, said["note"])
        self.assertTrue(said["config_for_quire_alone"])
        self.assertGreater(len(said["weight_files"]), 1)
        for name in said["weight_files"]:
            self.assertLess((self.out / name).stat().st_size, 60 << 10)
        for model, when in ((MHA, "before"), (self.out, "after")):
            inspected = json.loads(quire("inspect", model, "--json").stdout)
            self.assertEqual(said["kv_bytes_per_token"][when],
                             sum(each["token_bytes"] for each in inspected["kv_classes"]))
        config = json.loads((self.out / "config.json").read_text())
        self.assertEqual(config["num_key_value_heads"], [2, 1])

    def test_what_cannot_be_done_is_said_on_stderr(self):
        for arguments, code, message in (
                ((MHA, self.out, "--groups", 3), 1, "it can have 1, 2, 4"),
                ((MHA, self.out, "--groups", 2, "--seed", 3), 1, "--method random alone"),
                ((MHA, self.out, "--groups-per-layer", "2"), 1, "give one number a layer"),
                ((self.out, self.out, "--groups", 2), 1, "config.json"),
                ((MHA, MHA, "--groups", 2), 1, "must be a new or an empty directory"),
                ((MHA, self.out), 2, "--groups"),
                ((MHA, self.out, "--groups", 0), 2, "--groups"),
                ((MHA, self.out, "--groups", 2, "--groups-per-layer", "2,2"), 2, "--groups"),
                ((MHA, self.out, "--groups", 2, "--method", "median"), 2, "--method")):
            with self.subTest(arguments=arguments[2:]):
                result = quire("regroup", *arguments)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stdout, "")
                self.assertFalse(self.out.exists())

    def test_an_interrupt_leaves_nothing_behind(self):
        """A model that takes a while: a sparse file of zeros, in as many shards as are allowed."""
        model = self.out.parent / "model"
        model.mkdir()
        config = json.loads((MHA / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config))
        data = (MHA / "model.safetensors").read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + size])
        start, piece, pieces = len(data) - 8 - size, 1 << 20, 3000
        for i in range(pieces):
            header[f"zeros.{i}"] = {"dtype": "U8", "shape": [piece],
                                    "data_offsets": [start + i * piece, start + (i + 1) * piece]}
        text = json.dumps(header).encode()
        with open(model / "model.safetensors", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + data[8 + size:])
            file.truncate(8 + len(text) + start + pieces * piece)
        process = subprocess.Popen([CLI, "regroup", model, self.out, "--groups", "1",
                                    "--max-shard-size", "1MiB"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not self.out.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("interrupted", err)
        self.assertEqual(out, "")
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
