"""`quire-bench`: its benchmarks, and `serve` against a server of ours and one of OpenAI's protocol."""

import http.server
import json
import os
import resource
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest

from certificates import Authority
from quire_server import MODEL, TIMEOUT, QuireServer

BENCH = os.environ["QUIRE_BENCH"]
LATENCIES = ["ttft_seconds", "inter_token_seconds", "per_token_seconds", "end_to_end_seconds"]


def start(target, *options):
    line = [BENCH, "serve", "--target", target, *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Result:
    """A run that has ended: exit code, table, standard error and the JSON."""

    def __init__(self, target, *options):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "result.json")
            process = start(target, "--json", name, *options)
            self.table, self.error = process.communicate(timeout=TIMEOUT)
            self.code = process.returncode
            self.json = None
            if os.path.exists(name):
                with open(name, encoding="utf-8") as file:
                    self.json = json.load(file)

    def __getattr__(self, name):
        return self.json[name]


class BenchCase(unittest.TestCase):
    def assert_adds_up(self, result):
        total, tenants = result.total, result.tenants
        for group in [total, *tenants]:
            ends = [group[name] for name in ("ok", "rejected", "failed", "unfinished")]
            self.assertEqual(sum(ends), group["requests"])
            self.assertEqual(sum(group["by_code"].values()), group["requests"])
            self.assertEqual(group["end_to_end_seconds"]["count"], group["ok"])
            self.assertEqual(group["rejection_seconds"]["count"], group["rejected"])
            for name in LATENCIES:
                latency = group[name]
                self.assertLessEqual(latency["p50"], latency["p90"])
                self.assertLessEqual(latency["p90"], latency["p99"])
                self.assertLessEqual(latency["p99"], latency["max"] * 1.000001)
        for name in ("requests", "ok", "rejected", "failed", "unfinished"):
            self.assertEqual(sum(tenant[name] for tenant in tenants), total[name])
        self.assertEqual(sum(second["due"] for second in result.series), total["requests"])


class SchedulerTest(unittest.TestCase):
    def test_times_each_combination(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "result.json")
            line = [BENCH, "step", "--component", "scheduler", "--running", "4", "--queued", "10,20",
                    "--tenants", "1,3", "--steps", "5", "--json", name]
            done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT, check=True)
            with open(name, encoding="utf-8") as file:
                report = json.load(file)
        self.assertEqual(list(report), ["running", "steps", "results"])
        results = report["results"]
        self.assertEqual(list(results[0])[:2], ["tenants", "queued"])
        self.assertEqual([(r["tenants"], r["queued"]) for r in results],
                         [(1, 10), (1, 20), (3, 10), (3, 20)])
        for result in results:
            self.assertGreater(result["scheduler_seconds_median"], 0)
            self.assertGreater(result["kv_seconds_median"], 0)
        self.assertIn("4 running", done.stdout)

    def test_needs_a_model_for_the_model(self):
        done = subprocess.run([BENCH, "step"], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--model", done.stderr)


class KernelsTest(unittest.TestCase):
    def test_each_operation_in_each_use(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "result.json")
            line = [BENCH, "kernels", "--shape", MODEL, "--threads", "1", "--rows", "1,3", "--context",
                    "64", "--head-dim", "16", "--heads-per-group", "8,32", "--repeat", "1", "--json",
                    name]
            done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(name, encoding="utf-8") as file:
                report = json.load(file)
        self.assertGreater(report["machine"]["read_bytes_per_second"], 0)
        uses = {}
        for result in report["results"]:
            uses.setdefault(result["operation"].split()[0], []).append(result["use"])
            self.assertGreater(result["seconds"], 0)
        for operation in ("embed", "rms_norm", "rope_write_kv", "gate_mul", "sample"):
            self.assertEqual(set(uses[operation]), {"1 rows", "3 rows"})
        self.assertEqual(sum(result["calls"] for result in report["results"]
                             if result["operation"].startswith("linear ")), 2 * 5)
        self.assertEqual([use.split(",")[-1].strip() for use in uses["attention"]],
                         ["8 heads a group"] * 2 + ["32 heads a group"] * 2)
        self.assertIn("linear ", done.stdout)


class StepTest(unittest.TestCase):
    def run_step(self, *flags):
        line = [BENCH, "step", "--model", MODEL, "--threads", "1", "--prompt", "8", "--chunk", "8",
                "--batch", "1", "--context", "8", "--repeat", "1", *flags]
        return subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT)

    def test_measures_the_tier_that_is_asked_for(self):
        done = self.run_step("--cpu-tier", "portable")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("device   cpu, portable, 1 thread\n", done.stdout)

    def test_says_where_a_step_spends_its_time(self):
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "result.json")
            done = self.run_step("--ops", "--kv-dtype", "int8", "--json", name)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(name, encoding="utf-8") as file:
                report = json.load(file)
        self.assertIn("KV in int8", report["compute_dtype"])
        self.assertIn("decode, batch 1, context 8, by operation", done.stdout)
        self.assertEqual([result["phase"] for result in report["results"]], ["prefill", "decode"])
        for result in report["results"]:
            ops = {op["operation"]: op for op in result["operations"]}
            for begin in ("linear ", "attention G ", "rope_write_kv", "rms_norm", "sample"):
                self.assertTrue(any(op.startswith(begin) for op in ops), begin)
            total = sum(op["seconds"] for op in ops.values())
            self.assertGreater(total, 0)
            # Counted by what is called here, and by the shape of the model there.
            flops = result["flops_per_second"] * result["seconds_median"]
            self.assertAlmostEqual(sum(op["flops"] for op in ops.values()) / flops, 1, places=6)
        done = self.run_step("--kv-dtype", "fp8_e4m3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("use --kv-dtype int8 or auto", done.stderr)

    def test_names_a_tier_that_there_is_not(self):
        done = self.run_step("--cpu-tier", "sse9")
        self.assertEqual(done.returncode, 2)
        for part in ("--cpu-tier", "sse9", "portable"):
            self.assertIn(part, done.stderr)


class FleetTest(unittest.TestCase):
    LOAD = ["--rate", "20", "--duration", "2", "--prompt-tokens", "40", "--output-tokens", "4",
            "--shared-prefix-tokens", "32", "--kv-memory", "4M"]

    def run_fleet(self, *flags):
        line = [BENCH, "fleet", *flags]
        return subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT)

    def test_measures_steps_and_compares_policies_by_them(self):
        with tempfile.TemporaryDirectory() as folder:
            def name(file):
                return os.path.join(folder, file)

            def load(file):
                with open(name(file), encoding="utf-8") as text:
                    return json.load(text)

            done = self.run_fleet("--model", MODEL, "--threads", "1", "--fit-seconds", "0",
                                  "--max-running", "4", "--max-step-tokens", "64", "--replicas",
                                  "1,3", "--seeds", "2", "--write-step-times", name("times.json"),
                                  "--json", name("first.json"), "--svg", name("first.svg"),
                                  *self.LOAD)
            self.assertEqual(done.returncode, 0, done.stderr)
            first = load("first.json")
            with open(name("first.svg"), encoding="utf-8") as svg:
                self.assertIn("prefix-affinity", svg.read())
            times = load("times.json")
            done = self.run_fleet("--shape", "qwen2.5-0.5b", "--step-times", name("times.json"),
                                  "--replicas", "2", "--policy", "least-kv", "--json",
                                  name("second.json"), *self.LOAD)
            self.assertEqual(done.returncode, 0, done.stderr)
            second = load("second.json")
        self.assertGreater(times["fit"]["steps"], 10)
        self.assertEqual(second["step_times"]["seconds"], times["seconds"])
        self.assertEqual([(r["replicas"], r["policy"]) for r in first["results"]],
                         [(replicas, policy) for replicas in (1, 3) for policy in
                          ("round-robin", "least-kv", "prefix-affinity", "tenant-aware")])
        for result in first["results"] + second["results"]:
            self.assertGreater(result["mean"]["ttft_seconds_p50"], 0)
            self.assertGreater(result["mean"]["prefix_hit_ratio"], 0)
            self.assertEqual(result["mean"]["failed"], 0)
        self.assertEqual(len(first["results"][0]["seeds"]), 2)

    def test_says_what_makes_no_sense(self):
        for flags, code, message in (
                ([], 2, "--model"),
                (["--shape", "llama-3.2-1b"], 1, "neither a rate"),
                (["--shape", "llama-3.2-1b", "--rate", "1", "--policy", "best"], 2, "best"),
                (["--shape", "llama-3.2-1b", "--rate", "1", "--step-times", __file__], 1,
                 "no JSON object")):
            done = self.run_fleet(*flags)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(message, done.stderr)


class QuireTest(BenchCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer("--max-running", "4", "--max-queued", "4")

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f"exit code {code}: {''.join(cls.server.log)}")

    def tokens(self):
        metrics = self.server.metrics_at_rest()
        return metrics.value("quire_prompt_tokens_total"), metrics.value(
            "quire_generated_tokens_total")

    def test_a_closed_loop_of_a_number_of_requests_does_what_the_server_counts(self):
        before = self.tokens()
        result = Result(self.server.address, "--concurrency", "3", "--requests", "40", "--warmup",
                        "0", "--prompt-tokens", "25", "--output-tokens", "6", "--slo-ttft-ms",
                        "60000")
        self.assertEqual(result.code, 0, result.error)
        self.assert_adds_up(result)
        self.assertEqual(result.total["ok"], 40)
        self.assertEqual(result.total["met_slo"], 40)
        self.assertEqual(result.end, "complete")
        after = self.tokens()
        self.assertEqual(after[0] - before[0], 40 * 25)
        self.assertEqual(after[1] - before[1], 40 * 6)
        self.assertAlmostEqual(result.total["output_tokens_per_second"] * result.window_seconds,
                               40 * 6, delta=1)
        self.assertIn("default", result.table)

    def test_few_files_are_enough_for_few_streams(self):
        line = [BENCH, "serve", "--target", self.server.address, "--concurrency", "2", "--requests",
                "4", "--warmup", "0", "--prompt-tokens", "4", "--output-tokens", "2"]
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=TIMEOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_open_loop_of_two_tenants_is_the_same_requests_for_the_same_seed(self):
        options = ["--duration", "1", "--warmup", "0.2", "--prompt-sigma", "1", "--output-tokens",
                   "2", "--prompt-tokens", "4", "--tenant", "name=a,rate=20,burstiness=0.5",
                   "--tenant", "name=b,rate=10,key=hidden,priority=1"]
        first, second = (Result(self.server.address, *options, "--seed", seed) for seed in "55")
        for result in (first, second):
            self.assertEqual(result.code, 0, result.error)
            self.assert_adds_up(result)
            self.assertEqual([tenant["name"] for tenant in result.tenants], ["a", "b"])
            self.assertNotIn("hidden", result.table + json.dumps(result.json))
        for one, other in zip(first.tenants, second.tenants):
            self.assertGreater(one["requests"], 0)
            self.assertEqual(one["requests"], other["requests"])

    def test_rejections_are_told_from_failures_and_have_a_latency_of_their_own(self):
        result = Result(self.server.address, "--concurrency", "40", "--requests", "200",
                        "--warmup", "0", "--output-tokens", "40", "--retry-pause-ms", "5")
        self.assertEqual(result.code, 0, result.error)
        self.assert_adds_up(result)
        self.assertGreater(result.total["rejected"], 0)
        self.assertEqual(result.total["by_code"]["RESOURCE_EXHAUSTED"], result.total["rejected"])
        self.assertEqual(result.total["failed"], 0)

    def test_requests_that_do_not_fit_the_context_are_refused_before_the_run(self):
        result = Result(self.server.address, "--rate", "1", "--prompt-tokens", "10000000")
        self.assertEqual(result.code, 1)
        self.assertIn("10000000", result.error)
        self.assertIsNone(result.json)

    def test_ctrl_c_prints_what_there_is(self):
        process = start(self.server.address, "--concurrency", "2", "--warmup", "0", "--duration",
                        "600", "--output-tokens", "4")
        self.server.metrics_when(lambda metrics: metrics.value("quire_requests_running") > 0)
        process.send_signal(signal.SIGINT)
        table, error = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, error)
        self.assertIn("interrupted", table)
        self.server.metrics_at_rest()


class GoneTest(BenchCase):
    def test_a_server_that_goes_away_is_reported(self):
        with QuireServer("--drain-timeout", "0s") as server:
            with tempfile.TemporaryDirectory() as folder:
                name = os.path.join(folder, "result.json")
                process = start(server.address, "--concurrency", "4", "--warmup", "0",
                                "--duration", "600", "--max-failures", "20", "--retry-pause-ms",
                                "10", "--json", name)
                server.metrics_when(lambda metrics: metrics.value("quire_requests_running") > 0)
                server.signal()
                table, error = process.communicate(timeout=TIMEOUT)
                with open(name, encoding="utf-8") as file:
                    result = json.load(file)
        self.assertEqual(process.returncode, 1, error)
        self.assertEqual(result["end"], "gave up")
        self.assertGreaterEqual(result["total"]["failed"], 20)
        self.assertIn("UNAVAILABLE", table)

    def test_no_server_is_a_plain_error(self):
        result = Result("127.0.0.1:1", "--rate", "1")
        self.assertEqual(result.code, 1)
        self.assertIn("is a quire-server listening there", result.error)


class OpenAiHandler(http.server.BaseHTTPRequestHandler):
    """Answers with max_tokens pieces of text; every tenth request finds it full."""

    protocol_version = "HTTP/1.1"
    seen, lock = [], threading.Lock()

    def log_message(self, *args):
        pass

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        models = {"data": [{"id": "stub", "max_model_len": 4096}]}
        self.reply(200 if self.path == "/v1/models" else 404, json.dumps(models).encode())

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, text, finish=None):
        choice = {"index": 0, "text": text, "finish_reason": finish}
        self.chunk(f"data: {json.dumps({'choices': [choice]})}\n\n")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            number = len(self.seen)
            self.seen.append((self.path, self.headers.get("authorization"), body))
        if number % 10 == 9:
            self.reply(429, b'{"error": "full"}', Retry_After="1")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(body["max_tokens"] // 2):  # two tokens a piece
            self.event("x ", "length" if i + 1 == body["max_tokens"] // 2 else None)
        usage = {"choices": [], "usage": {"completion_tokens": body["max_tokens"]}}
        self.chunk(f"data: {json.dumps(usage)}\n\n")
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")


class CutOffHandler(OpenAiHandler):
    """Ends in the middle of every answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b'data: {"choices": [{"text": "a", "finish_reason": null}]}\n\n')


class OpenAiServer:
    def __init__(self, handler, tls=None):
        handler.seen.clear()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever)

    def __enter__(self):
        self.thread.start()
        return f"127.0.0.1:{self.http.server_address[1]}"

    def __exit__(self, *unused):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


class TlsTest(unittest.TestCase):
    """Servers that want a client's certificate."""

    LOAD = ["--concurrency", "2", "--requests", "4", "--warmup", "0", "--prompt-tokens", "8",
            "--output-tokens", "4"]

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.__exit__)
        cls.server_files = [str(file) for file in cls.authority.issue("server", "IP:127.0.0.1")]
        certificate, key = cls.authority.issue("client", "DNS:bench.test")
        cls.tls = ["--tls", "--ca", str(cls.authority.roots), "--cert", str(certificate),
                   "--cert-key", str(key)]

    def assert_serves(self, address, *options):
        result = Result(address, *self.LOAD, *self.tls, *options)
        self.assertEqual(result.code, 0, result.error)
        self.assertEqual(result.total["ok"], 4)
        for flags in [[], ["--tls"], self.tls[:3]]:
            refused = Result(address, *self.LOAD, *flags, *options)
            self.assertEqual(refused.code, 1, refused.table)
            self.assertIn(address, refused.error)

    def test_a_server_of_ours(self):
        flags = ["--tls-cert", self.server_files[0], "--tls-key", self.server_files[1],
                 "--tls-client-ca", str(self.authority.roots), "--tls-require-client-cert"]
        with QuireServer(*flags) as server:
            self.assert_serves(server.address)

    @unittest.skipUnless(os.environ.get("QUIRE_BENCH_OPENAI") == "1", "built without libcurl")
    def test_one_of_openais_protocol(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH,
                                             cafile=self.authority.roots)
        context.load_cert_chain(*self.server_files)
        context.verify_mode = ssl.CERT_REQUIRED
        with OpenAiServer(OpenAiHandler, context) as address:
            self.assert_serves(address, "--api", "openai")

    def test_a_file_that_is_not_there_is_named(self):
        for api in ["quire", "openai"] if os.environ.get("QUIRE_BENCH_OPENAI") == "1" else ["quire"]:
            absent = Result("127.0.0.1:1", *self.LOAD, "--api", api, "--tls", "--ca", "/no/such/file")
            self.assertEqual(absent.code, 1)
            self.assertIn("--ca: /no/such/file", absent.error)

    def test_what_contradicts_itself_is_refused(self):
        for flags in [["--ca", "x"], ["--tls", "--cert", "x"], ["--tls", "--cert-key", "x"]]:
            self.assertEqual(Result("127.0.0.1:1", *flags).code, 2, flags)
        plain = Result("http://127.0.0.1:1/v1", "--api", "openai", "--tls", *self.LOAD)
        self.assertEqual(plain.code, 2)
        self.assertIn("https://", plain.error)


@unittest.skipUnless(os.environ.get("QUIRE_BENCH_OPENAI") == "1", "built without libcurl")
class OpenAiTest(BenchCase):
    def test_streams_are_timed_and_tokens_are_the_servers_own_count(self):
        with OpenAiServer(OpenAiHandler) as address:
            result = Result(address, "--api", "openai", "--concurrency", "3", "--requests", "30",
                            "--warmup", "0", "--prompt-tokens", "12", "--output-tokens", "8",
                            "--key", "k", "--retry-pause-ms", "1", "--shared-prefix-tokens", "5")
        self.assertEqual(result.code, 0, result.error)
        self.assert_adds_up(result)
        self.assertEqual(result.model, "stub")
        self.assertEqual(result.total["by_code"], {"OK": 27, "HTTP 429": 3})
        self.assertEqual(result.total["retry_hints"], 3)
        self.assertEqual(result.total["inter_token_seconds"]["count"], 27 * 3)
        self.assertAlmostEqual(result.total["output_tokens_per_second"] * result.window_seconds,
                               27 * 8, delta=8)
        prefixes, owns = set(), set()
        for path, key, body in OpenAiHandler.seen:
            self.assertEqual((path, key), ("/v1/completions", "Bearer k"))
            self.assertEqual(len(body["prompt"]), 5 + 12)
            prefixes.add(tuple(body["prompt"][:5]))
            owns.add(tuple(body["prompt"][5:]))
            self.assertTrue(body["stream"] and body["ignore_eos"])
        self.assertEqual((len(prefixes), len(owns)), (1, 30))

    def test_an_answer_that_is_cut_off_has_failed(self):
        with OpenAiServer(CutOffHandler) as address:
            result = Result(address, "--api", "openai", "--concurrency", "1", "--requests", "3",
                            "--warmup", "0")
        self.assertEqual(result.code, 1)
        self.assertEqual(result.total["by_code"], {"cut off": 3})

    def test_no_server_is_a_plain_error(self):
        result = Result("127.0.0.1:1", "--api", "openai", "--rate", "1")
        self.assertEqual(result.code, 1)
        self.assertIn("http://127.0.0.1:1/v1/models", result.error)


if __name__ == "__main__":
    unittest.main()
