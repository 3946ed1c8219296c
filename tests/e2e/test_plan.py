"""What `quire plan` and PlanCapacity say is what a live server has, to the byte."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

import grpc

from quire_server import MODEL, TIMEOUT, Answer, QuireServer, admin_pb2, admin_pb2_grpc, quire
from tenant_files import ConfigFile, as_tenant, with_keys
from tiny_checkpoint import write_checkpoint

CPU, GPU = os.environ["QUIRE_SERVER"], os.environ["QUIRE_SERVER_ON_EMULATED_GPU"]
MEMORY = 5_000_000
WINDOW = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "sliding_window": 64,
          "use_sliding_window": True, "max_window_layers": 2}


class PlanTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.models = {}

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def model(self, groups, **changes):
        """The path of a checkpoint with so many groups, or with a list of them by layer."""
        name = f"{groups}{'w' if changes else ''}"
        if name not in self.models:
            path = pathlib.Path(self.directory.name) / f"m{len(self.models)}"
            write_checkpoint(path, pathlib.Path(MODEL), groups, **changes)
            self.models[name] = str(path)
        return self.models[name]

    def check(self, model, dtype, block_tokens, gpu=False):
        """Compares the plan with a server."""
        compute = ("--dtype", "f32") if dtype == "f32" else ()
        before = os.environ["QUIRE_SERVER"]
        os.environ["QUIRE_SERVER"] = GPU if gpu else CPU
        try:
            server = QuireServer("--model", model, "--kv-memory", str(MEMORY), "--kv-dtype", dtype,
                                 "--block-tokens", str(block_tokens), "--max-step-tokens", "64",
                                 "--max-running", "8", "--admin-listen", "127.0.0.1:0", *compute)
        finally:
            os.environ["QUIRE_SERVER"] = before
        with server:
            metrics = server.metrics_at_rest()
            with grpc.insecure_channel(server.admin_address,
                                       [("grpc.enable_http_proxy", 0)]) as channel:
                served = [row for row in admin_pb2_grpc.AdminServiceStub(channel).PlanCapacity(
                    admin_pb2.PlanCapacityRequest(context_tokens=[100, 512]), timeout=TIMEOUT).rows
                    if row.served]
        plan = json.loads(quire("plan", model, "--kv-memory", str(MEMORY), "--kv-dtype", dtype,
                                "--block-tokens", str(block_tokens), "--groups", "own",
                                "--max-step-tokens", "64", "--steps-in-flight", "2" if gpu else "1",
                                "--context", "100,512", "--json"))
        self.assertEqual(len(served), 1)
        self.assertEqual(len(plan["rows"]), 1)
        row = plan["rows"][0]
        self.assertEqual(row["kv_bytes"], metrics.value("quire_memory_bytes", kind="kv"))
        self.assertEqual(row["kv_bytes"], served[0].kv_bytes)
        self.assertEqual(row["token_bytes"], served[0].token_bytes)
        self.assertEqual([entry["sequences"] for entry in row["capacity"]],
                         list(served[0].sequences))
        self.assertGreater(row["capacity"][1]["sequences"], 0)
        for entry, answered in zip(row["kv_classes"], served[0].classes, strict=True):
            label = f"window_{entry['window']}" if entry["window"] else "full"
            self.assertEqual(entry["block_bytes"],
                             metrics.value("quire_kv_block_bytes", cache_class=label))
            # With nobody in it the whole cache is any class's.
            self.assertEqual(entry["blocks"], metrics.value("quire_kv_blocks", cache_class=label,
                                                            state="free"))
            self.assertEqual((entry["block_bytes"], entry["blocks"]),
                             (answered.block_bytes, answered.blocks))
        return row

    def test_uniform_groups_of_three_types_and_two_block_sizes(self):
        for block_tokens in (16, 64):
            for dtype in ("bf16", "f32", "int8"):
                bytes_of = {}
                for groups in (8, 4, 2, 1):
                    with self.subTest(groups=groups, dtype=dtype, block_tokens=block_tokens):
                        row = self.check(self.model(groups), dtype, block_tokens)
                        bytes_of[groups] = row["token_bytes"]
                self.assertEqual(bytes_of, {g: g * bytes_of[1] for g in (8, 4, 2, 1)})

    def test_a_list_of_groups_by_layer(self):
        row = self.check(self.model([8, 1, 4, 2]), "bf16", 16)
        self.assertEqual(row["token_bytes"], 2 * (8 + 1 + 4 + 2) * 16 * 2)

    def test_layers_with_a_window(self):
        for block_tokens in (16, 64):
            row = self.check(self.model(2, **WINDOW), "bf16", block_tokens)
            self.assertEqual([entry["window"] for entry in row["kv_classes"]], [0, 64])

    def test_the_accounting_of_a_gpu(self):
        for groups in (8, 1):
            for dtype in ("bf16", "fp8_e4m3"):
                with self.subTest(groups=groups, dtype=dtype):
                    self.check(self.model(groups), dtype, 16, gpu=True)
        self.check(self.model([8, 1, 4, 2]), "bf16", 16, gpu=True)
        self.check(self.model(2, **WINDOW), "bf16", 16, gpu=True)

    def test_decode_steps_are_predicted_where_the_cpu_can_take_them(self):
        plan = json.loads(quire("plan", self.model(4), "--decode", "2x256", "--groups", "4,1",
                                "--kv-dtype", "bf16,int8,fp8_e4m3", "--device", "cpu", "--json"))
        self.assertTrue(plan["decode_device"].startswith("cpu, "), plan["decode_device"])
        seconds = {(row["kv_groups"][0], row["kv_dtype"]): row["decode_steps"][0]["seconds"]
                   for row in plan["rows"]}
        for groups, dtype in [(4, "bf16"), (1, "bf16"), (4, "int8"), (1, "int8")]:
            self.assertGreater(seconds[groups, dtype], 0)
        self.assertEqual((seconds[4, "fp8_e4m3"], seconds[1, "fp8_e4m3"]), (None, None))

    def test_the_benchmark_of_groups_measures_what_the_plan_lays_out(self):
        path = pathlib.Path(self.directory.name)
        done = subprocess.run(
            [os.environ["QUIRE_BENCH"], "groups", self.model(4), "--batch", "2", "--context", "64",
             "--prompt", "64", "--repeat", "1", "--kv-memory", str(MEMORY), "--users", "2",
             "--requests", "3", "--output", "4",
             "--json", str(path / "groups.json"), "--svg", str(path / "groups.svg")],
            capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads((path / "groups.json").read_text())
        plan = json.loads(quire("plan", self.model(4), "--kv-memory", str(MEMORY), "--context",
                                "64", "--json"))
        self.assertEqual([(row["kv_groups"], row["token_bytes"], row["blocks"],
                           row["capacity"][0]["sequences"]) for row in result["results"]],
                         [(row["kv_groups"][0], row["token_bytes"], row["kv_classes"][0]["blocks"],
                           row["capacity"][0]["sequences"]) for row in plan["rows"]])
        for row in result["results"]:
            self.assertGreater(row["prefill"]["tokens_per_second"], 0)
            self.assertGreater(row["decode"][0]["seconds_median"], 0)
            self.assertEqual(row["load"]["most_running"], 2)
            self.assertGreater(row["load"]["ttft_seconds_p90"], 0)
            self.assertGreater(row["decode"][0]["seconds_predicted"], 0)
        lines = xml.etree.ElementTree.parse(path / "groups.svg").findall(
            ".//{http://www.w3.org/2000/svg}polyline")
        self.assertEqual(len(lines), 4)

    def test_tenants_budgets_and_the_table(self):
        config = with_keys({"name": "gold", "kv_reserved": "1M", "kv_limit": "2M"})
        with ConfigFile(config) as file, QuireServer("--config", file.path, "--kv-memory", "8M",
                                                     "--admin-listen", "127.0.0.1:0") as server:
            text = quire("admin", "plan", "--server", server.admin_address, "--context", "512",
                         "--groups", "6,1")
            Answer(server.generate(max_tokens=1, metadata=as_tenant("gold"))).read()
        rows = {tuple(line.split()[:2]): line.split()[-1] for line in text.splitlines() if line}
        # 16 KiB a block, and 32 blocks hold 511 tokens.
        self.assertEqual(rows[("*", "2")], "16")
        self.assertEqual(rows[("1", "(MQA)")], "32")
        self.assertEqual((rows[("gold,", "reserved")], rows[("gold,", "limit")]), ("2", "4"))


if __name__ == "__main__":
    unittest.main()
