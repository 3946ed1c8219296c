"""`quire check`: right on every model here, and the right line on each way a model can be broken."""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

DEMO = pathlib.Path(os.environ["QUIRE_MODEL"])
TINY_MODELS = pathlib.Path(__file__).parent.parent / "golden" / "data" / "models"
QUANTIZED_MODELS = TINY_MODELS.parent / "quant"
# Far more than a good model of this size takes, sanitizers included.
MAX_SECONDS = 60
MAX_RESIDENT_KIB = 2 << 20


def check(model, *flags):
    """Returns (exit code, [(outcome, detail) by check name], peak memory in KiB)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([os.environ["QUIRE_CLI"], "check", str(model), "--json",
                                    "--threads", "1", *flags], stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text, errors = out.read().decode(), err.read().decode()
    if process.returncode not in (0, 1):
        raise AssertionError(f"exit code {process.returncode}: {errors}")
    results = {line["check"]: (line["outcome"], line["detail"]) for line in json.loads(text)}
    return process.returncode, results, usage


class Tensors:
    """A safetensors file, taken apart."""

    def __init__(self, path):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        self.header = json.loads(data[8:8 + size])
        self.body = bytearray(data[8 + size:])

    def bytes(self):
        header = json.dumps(self.header).encode()
        return struct.pack("<Q", len(header)) + header + bytes(self.body)

    def drop(self, name):
        start, end = self.header.pop(name)["data_offsets"]
        del self.body[start:end]
        for entry in self.header.values():
            if "data_offsets" in entry and entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [at - (end - start) for at in entry["data_offsets"]]

    def fill(self, name, two_bytes):
        start, end = self.header[name]["data_offsets"]
        self.body[start:end] = two_bytes * ((end - start) // 2)


NORM = "model.norm.weight"
EMBED = "model.embed_tokens.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"


def config(**changes):
    def change(model):
        path = model / "config.json"
        fields = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                fields.pop(key, None)
            else:
                fields[key] = value
        path.write_text(json.dumps(fields))
    return change


def tensors(edit):
    def change(model):
        path = model / "model.safetensors"
        file = Tensors(path)
        edit(file)
        path.write_bytes(file.bytes())
    return change


def entry(name, **changes):
    return tensors(lambda file: file.header[name].update(changes))


def drop(name):
    return tensors(lambda file: file.drop(name))


def weights_bytes(edit):
    def change(model):
        path = model / "model.safetensors"
        path.write_bytes(edit(path.read_bytes()))
    return change


def tokenizer(edit):
    def change(model):
        path = model / "tokenizer.json"
        data = json.loads(path.read_text())
        edit(data)
        path.write_text(json.dumps(data))
    return change


def text(name, content):
    return lambda model: (model / name).write_bytes(content)


def remove(name):
    return lambda model: (model / name).unlink()


def huge_vocabulary(data):
    data["model"]["vocab"] = {f"w{i}": i for i in range(5000)}


def cyclic_merges(data):
    data["model"]["merges"] = [["a", "b"], ["ab", "a"]] * 3


def with_sums(content):
    def change(model):
        (model / "SHA256SUMS").write_text(content(model))
    return change


def right_sums(model):
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
                   for path in sorted(model.iterdir()) if path.name != "SHA256SUMS")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"

# What is done to a good model; the check whose line must say FAILED; what that line says.
BAD = {
    "lfs_weights": (text("model.safetensors", LFS), "files", "git lfs pull"),
    "lfs_tokenizer": (text("tokenizer.json", LFS), "files", "git lfs pull"),
    "sums_wrong": (with_sums(lambda m: "0" * 64 + "  config.json\n"), "files", "has the hash"),
    "sums_garbage": (with_sums(lambda m: "not a hash\n"), "files", "not a hash"),
    "sums_outside": (with_sums(lambda m: "0" * 64 + "  ../config.json\n"), "files",
                     "not in its directory"),
    "sums_of_nothing": (with_sums(lambda m: "0" * 64 + "  missing.bin\n"), "files", "missing.bin"),

    "config_missing": (remove("config.json"), "config", "config.json"),
    "config_empty": (text("config.json", b""), "config", "config.json"),
    "config_not_json": (text("config.json", b"{\"a\": "), "config", "config.json"),
    "config_a_list": (text("config.json", b"[1, 2]"), "config", "config.json"),
    "config_deep": (text("config.json", b"[" * 100000), "config", "config.json"),
    "config_not_utf8": (text("config.json", b"{\"\xff\": 1}"), "config", "config.json"),
    "no_architecture": (config(architectures=None), "config", "architectures"),
    "unknown_architecture": (config(architectures=["GPT9"]), "config", "GPT9"),
    "layers_zero": (config(num_hidden_layers=0), "config", "num_hidden_layers"),
    "layers_huge": (config(num_hidden_layers=10**9), "config", "num_hidden_layers"),
    "layers_negative": (config(num_hidden_layers=-1), "config", "num_hidden_layers"),
    "layers_text": (config(num_hidden_layers="four"), "config", "num_hidden_layers"),
    "layers_beyond_int64": (config(num_hidden_layers=2**70), "config", "num_hidden_layers"),
    "hidden_zero": (config(hidden_size=0), "config", "hidden_size"),
    "hidden_fraction": (config(hidden_size=192.5), "config", "hidden_size"),
    "heads_zero": (config(num_attention_heads=0), "config", "num_attention_heads"),
    "groups_do_not_divide": (config(num_key_value_heads=4), "config", "num_key_value_heads"),
    "groups_more_than_heads": (config(num_key_value_heads=12), "config", "num_key_value_heads"),
    "head_dim_odd": (config(head_dim=31), "config", "head dimension"),
    "head_dim_huge": (config(head_dim=1 << 20), "config", "head"),
    "vocab_zero": (config(vocab_size=0), "config", "vocab_size"),
    "vocab_huge": (config(vocab_size=10**12), "config", "vocab_size"),
    "eps_negative": (config(rms_norm_eps=-1), "config", "rms_norm_eps"),
    "positions_zero": (config(max_position_embeddings=0), "config", "max_position_embeddings"),
    "theta_zero": (config(rope_theta=0), "config", "rope_theta"),
    "activation_unknown": (config(hidden_act="swoosh"), "config", "hidden_act"),
    "rope_unknown": (config(rope_scaling={"rope_type": "wobble", "factor": 2.0}), "config",
                     "wobble"),

    "tokenizer_missing": (remove("tokenizer.json"), "tokenizer", "tokenizer.json"),
    "tokenizer_empty": (text("tokenizer.json", b""), "tokenizer", "tokenizer.json"),
    "tokenizer_deep": (text("tokenizer.json", b"{\"a\":" * 50000), "tokenizer", "tokenizer.json"),
    "tokenizer_model_unknown": (tokenizer(lambda d: d["model"].update(type="Telepathy")),
                                "tokenizer", "Telepathy"),
    "tokenizer_larger_than_model": (tokenizer(huge_vocabulary), "tokenizer", ""),
    "tokenizer_cyclic_merges": (tokenizer(cyclic_merges), "tokenizer", "merge"),
    "tokenizer_negative_id": (tokenizer(lambda d: d["model"]["vocab"].update({"zz": -5})),
                              "tokenizer", "zz"),
    "tokenizer_huge_id": (tokenizer(lambda d: d["model"]["vocab"].update({"zz": 2**40})),
                          "tokenizer", "zz"),
    "tokenizer_vocab_a_list": (tokenizer(lambda d: d["model"].update(vocab=[1])), "tokenizer",
                               "vocab"),
    "tokenizer_no_vocab": (tokenizer(lambda d: d["model"].update(vocab={}, merges=[])),
                           "tokenizer", ""),
    "tokenizer_lossy": (tokenizer(lambda d: d.update(normalizer={"type": "Lowercase"})),
                        "tokenizer", ""),

    "weights_missing": (remove("model.safetensors"), "weights", "model.safetensors"),
    "weights_empty": (text("model.safetensors", b""), "weights", "model.safetensors"),
    "weights_short_header": (weights_bytes(lambda b: b[:7]), "weights", "model.safetensors"),
    "weights_header_cut": (weights_bytes(lambda b: b[:200]), "weights", "model.safetensors"),
    "weights_body_cut": (weights_bytes(lambda b: b[:-1]), "weights", "model.safetensors"),
    "weights_half": (weights_bytes(lambda b: b[:len(b) // 2]), "weights", "model.safetensors"),
    "weights_longer": (weights_bytes(lambda b: b + b"xx"), "weights", "model.safetensors"),
    "weights_header_huge": (weights_bytes(lambda b: b"\xff" * 8 + b[8:]), "weights", "header"),
    "weights_header_not_json": (weights_bytes(lambda b: b[:8] + b"x" + b[9:]), "weights",
                                "model.safetensors"),
    "tensor_missing": (drop(QUERY), "weights", QUERY),
    "tensor_extra": (tensors(lambda f: f.header.update(
        {"model.layers.0.surprise": f.header.pop(NORM)})), "weights", ""),
    "tensor_beyond_the_file": (entry(NORM, data_offsets=[0, 1 << 40]), "weights", NORM),
    "tensor_backwards": (entry(NORM, data_offsets=[400, 16]), "weights", NORM),
    "tensor_negative": (entry(NORM, data_offsets=[-384, 0]), "weights", NORM),
    "tensor_offsets_huge": (entry(NORM, data_offsets=[2**63, 2**64]), "weights", ""),
    "tensor_shape_overflows": (entry(NORM, shape=[2**32, 2**32]), "weights", NORM),
    "tensor_shape_other": (entry(QUERY, shape=[96, 384]), "weights", QUERY),
    "tensor_shape_rank": (entry(NORM, shape=[192, 1, 1]), "weights", NORM),
    "tensor_dtype_unknown": (entry(NORM, dtype="F13"), "weights", NORM),
    "tensor_dtype_other": (entry(NORM, dtype="I64"), "weights", NORM),
    "config_of_another_model": (config(intermediate_size=256), "weights", ""),
    "more_layers_than_there_are": (config(num_hidden_layers=5), "weights", "model.layers.4"),
    "fewer_layers_than_there_are": (config(num_hidden_layers=3), "weights", "model.layers.3"),

    "weights_nan": (tensors(lambda f: f.fill(NORM, b"\xc0\x7f")), "forward", "nan"),
    "weights_infinite": (tensors(lambda f: f.fill(EMBED, b"\x80\x7f")), "forward", "nan"),
    "weights_overflow": (tensors(lambda f: f.fill(NORM, b"\x7f\x7f")), "forward", "logit"),
}


class CheckTest(unittest.TestCase):
    def test_the_demo_model_passes_every_check(self):
        code, results, _ = check(DEMO)
        self.assertEqual({name: outcome for name, (outcome, _) in results.items()},
                         dict.fromkeys(["files", "config", "tokenizer", "chat", "kv layout",
                                        "weights", "memory", "forward"], "ok"))
        self.assertEqual(code, 0)
        self.assertIn("GQA: 6 query heads, 2 KV groups", results["kv layout"][1])

    def test_every_tiny_checkpoint_passes(self):
        models = [folder for root in (TINY_MODELS, QUANTIZED_MODELS)
                  for folder in sorted(root.iterdir())
                  if (folder / "config.json").exists() or list(folder.glob("*.gguf"))]
        self.assertGreater(len(models), 20)
        for model in models:
            with self.subTest(model=model.name):
                code, results, _ = check(model, "--no-tokenizer")
                self.assertEqual(code, 0, results)
                self.assertEqual(results["forward"][0], "ok")

    def test_right_hashes_pass(self):
        with tempfile.TemporaryDirectory() as directory:
            model = pathlib.Path(directory) / "model"
            shutil.copytree(DEMO, model)
            with_sums(right_sums)(model)
            code, results, _ = check(model)
        self.assertEqual(code, 0, results)
        self.assertRegex(results["files"][1], r"[0-9]+ hashes are right")

    def test_each_broken_model_fails_in_its_own_line(self):
        self.assertGreaterEqual(len(BAD), 60)
        for name, (damage, failing, message) in BAD.items():
            with self.subTest(model=name), tempfile.TemporaryDirectory() as directory:
                model = pathlib.Path(directory) / "model"
                shutil.copytree(DEMO, model)
                damage(model)
                code, results, usage = check(model)
                self.assertEqual(code, 1, results)
                outcome, detail = results[failing]
                self.assertEqual(outcome, "FAILED", results)
                self.assertIn(message, detail)
                earlier = list(results)[:list(results).index(failing)]
                self.assertEqual([results[check][0] for check in earlier], ["ok"] * len(earlier))
                self.assertLess(usage.ru_utime + usage.ru_stime, MAX_SECONDS)
                self.assertLess(usage.ru_maxrss, MAX_RESIDENT_KIB)

    def test_what_is_no_model_is_refused(self):
        code, results, _ = check("/nonexistent/model")
        self.assertEqual(code, 1)
        self.assertEqual(results["files"][0], "FAILED")


if __name__ == "__main__":
    unittest.main()
