"""/metrics of a server that has worked."""

import math
import pathlib
import sys
import unittest

import grpc

from certificates import SERVER_NAME, Authority
from quire_server import Answer, QuireServer, pb
from tenant_files import ConfigFile, as_tenant, with_keys

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
sys.path.insert(0, str(DEPLOY / "tools"))

import make_metrics_document  # noqa: E402


class MetricsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Nothing is paused, or tokens behind a pause would not be timed.
        with QuireServer("--max-unread-tokens", "0") as server:
            for _ in range(5):
                Answer(server.generate(max_tokens=20, ignore_eos=True)).read()
            Answer(server.generate(max_tokens=0)).read()
            cls.metrics = server.metrics()

    def test_every_family_of_ours_has_help_type_and_a_model(self):
        ours = [name for name in self.metrics.types if name.startswith("quire_")]
        self.assertGreater(len(ours), 20)
        for name in ours:
            self.assertTrue(self.metrics.helps[name])
        for name, samples in self.metrics.samples.items():
            if name.startswith("quire_"):
                for labels in samples:
                    self.assertEqual(dict(labels).get("model"), "quire-demo", name)

    def test_values_are_what_was_done(self):
        value = self.metrics.value
        self.assertEqual(value("quire_requests_accepted_total"), 5)
        self.assertEqual(value("quire_requests_finished_total", reason="length"), 5)
        self.assertEqual(value("quire_admission_rejections_total", reason="invalid"), 1)
        self.assertEqual(value("quire_generated_tokens_total"), 100)
        self.assertGreater(value("quire_prompt_tokens_total"), 0)
        self.assertGreater(self.metrics.total("quire_steps_total"), 0)
        self.assertGreater(value("quire_engine_last_step_timestamp_seconds"), 1.6e9)
        self.assertEqual(value("quire_kv_cache_config_info"), 1)

    def test_the_process_is_described(self):
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes",
                     "process_open_fds", "process_max_fds", "process_start_time_seconds"]:
            self.assertGreater(self.metrics.value(name), 0, name)

    def test_histograms_are_cumulative_and_agree_with_the_counters(self):
        for name, kind in self.metrics.types.items():
            if kind != "histogram":
                continue
            series = {}  # by its other labels
            for labels, count in self.metrics.samples[name + "_bucket"].items():
                edge = float(dict(labels)["le"].replace("+Inf", "inf"))
                rest = frozenset(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, []).append((edge, count))
            for labels, buckets in series.items():
                buckets.sort()
                counts = [count for _, count in buckets]
                self.assertEqual(counts, sorted(counts), name)
                self.assertEqual(buckets[-1][0], math.inf, name)
                self.assertEqual(counts[-1], self.metrics.samples[name + "_count"][labels], name)
        for name in ["quire_time_to_first_token_seconds", "quire_request_duration_seconds",
                     "quire_request_queue_seconds"]:
            self.assertEqual(self.metrics.value(name + "_count"), 5, name)
        self.assertEqual(self.metrics.value("quire_inter_token_latency_seconds_count"), 95)
        self.assertEqual(self.metrics.total("quire_step_duration_seconds_count"),
                         self.metrics.total("quire_steps_total"))
        self.assertEqual(self.metrics.value("quire_request_generated_tokens_sum"), 100)


class TenantMetricsTest(unittest.TestCase):
    """Two tenants that have worked, and one that cannot."""

    @classmethod
    def setUpClass(cls):
        names = ["a", 'b"\\', "refused"]
        cls.b = 'b\\"\\\\'  # as a label
        tenants = [{"name": name} for name in names]
        tenants[2]["kv_limit"] = "1"
        config = with_keys(*tenants)
        with ConfigFile(config) as file, QuireServer("--config", file.path) as server:
            for name, max_tokens in [("a", 20), (names[1], 25), ("a", 40), (names[1], 25),
                                     ("refused", 1)]:
                Answer(server.generate("Anna has 3 apples. " * 20, metadata=as_tenant(name),
                                       max_tokens=max_tokens, ignore_eos=True)).read()
            cls.metrics = server.metrics_at_rest()

    def of(self, name, **labels):
        """The value of tenant a, and of tenant b."""
        return [self.metrics.value(name, tenant=tenant, **labels) for tenant in ("a", self.b)]

    def test_each_tenant_has_what_it_did(self):
        self.assertEqual(self.of("quire_tenant_requests_accepted_total"), [2, 2])
        self.assertEqual(self.of("quire_tenant_requests_finished_total", reason="length"), [2, 2])
        self.assertEqual(self.of("quire_tenant_generated_tokens_total"), [60, 50])
        for name in ["cached_tokens_total", "kv_byte_seconds_total", "prefix_cache_bytes",
                     "fair_due_tokens_total"]:
            for value in self.of("quire_tenant_" + name):
                self.assertGreater(value, 0, name)
        for name, samples in self.metrics.samples.items():
            for labels, value in samples.items():
                if dict(labels).get("tenant") in ("default", "refused"):
                    refused = ("refused" in dict(labels)["tenant"] and
                               name == "quire_tenant_admission_rejections_total")
                    self.assertEqual(value, int(refused), (name, labels))

    def test_tenants_add_up_to_the_totals(self):
        total = self.metrics.total
        for name in ["requests_accepted_total", "requests_finished_total", "requests_running",
                     "requests_waiting", "queued_tokens", "generated_tokens_total",
                     "admission_rejections_total"]:
            self.assertEqual(total("quire_tenant_" + name), total("quire_" + name), name)
        self.assertEqual(total("quire_tenant_requests_started_total"),
                         total("quire_request_queue_seconds_count"))
        self.assertAlmostEqual(total("quire_tenant_queue_seconds_total"),
                               total("quire_request_queue_seconds_sum"), places=6)
        self.assertEqual(total("quire_tenant_cached_tokens_total"),
                         total("quire_prefix_cache_hit_tokens_total"))
        computed = total("quire_prompt_tokens_total")
        self.assertEqual(
            total("quire_tenant_started_prompt_tokens_total") - total("quire_tenant_cached_tokens_total"),
            computed)
        self.assertEqual(total("quire_tenant_cost_tokens_total"),
                         computed + 2 * total("quire_generated_tokens_total"))
        kept = sum(value * self.metrics.value("quire_kv_block_bytes")
                   for labels, value in self.metrics.samples["quire_kv_blocks"].items()
                   if dict(labels)["state"] == "cached")
        self.assertEqual(total("quire_tenant_prefix_cache_bytes"), kept)


class CallMetricsTest(unittest.TestCase):
    """grpc_server_*: every call, with the code of its status."""

    GENERATE = {"grpc_type": "server_stream", "grpc_service": "quire.v1.InferenceService",
                "grpc_method": "Generate"}

    def test_calls_are_counted_by_method_and_code(self):
        with QuireServer() as server:
            before = server.metrics()
            self.assertEqual(before.value("grpc_server_started_total", **self.GENERATE), 0)
            self.assertEqual(
                before.value("grpc_server_handled_total", grpc_code="OK", **self.GENERATE), 0)
            answers = [Answer(server.generate(max_tokens=5, ignore_eos=True)).read()
                       for _ in range(3)]
            Answer(server.generate(max_tokens=0)).read()
            cancelled = server.generate(max_tokens=1900, ignore_eos=True)
            next(cancelled)
            cancelled.cancel()
            server.stub.ListModels(pb.ListModelsRequest())
            with self.assertRaises(grpc.RpcError):
                server.channel.unary_unary("/quire.v1.InferenceService/NoSuchMethod")(b"")
            # A call's end, and that of a write, are counted one number after the other.
            metrics = server.metrics_when(
                lambda metrics: metrics.value("grpc_server_handling_seconds_count",
                                              **self.GENERATE) == 5 and
                metrics.total("grpc_server_handled_total") ==
                metrics.total("grpc_server_started_total") and
                metrics.value("quire_stream_write_seconds_count") ==
                metrics.total("grpc_server_msg_sent_total"))
        value = metrics.value
        self.assertEqual(value("grpc_server_started_total", **self.GENERATE), 5)
        for code, count in [("OK", 3), ("InvalidArgument", 1), ("Canceled", 1)]:
            self.assertEqual(
                value("grpc_server_handled_total", grpc_code=code, **self.GENERATE), count, code)
        self.assertEqual(value("grpc_server_msg_received_total", **self.GENERATE), 5)
        sent = value("grpc_server_msg_sent_total", **self.GENERATE)
        self.assertGreater(sent, sum(len(answer.messages) for answer in answers))
        self.assertEqual(value("grpc_server_handled_total", grpc_method="ListModels",
                               grpc_code="OK"), 1)

    def test_no_call_is_begun_that_does_not_end(self):
        with QuireServer("--admin-listen", "127.0.0.1:0") as server:
            calls = [server.generate(max_tokens=200, ignore_eos=True) for _ in range(8)]
            for call in calls[::2]:
                call.cancel()
            for call in calls[1::2]:
                Answer(call).read()
            metrics = server.metrics_when(lambda metrics: metrics.total(
                "grpc_server_started_total") == metrics.total("grpc_server_handled_total"))
        self.assertEqual(metrics.total("grpc_server_handled_total"),
                         metrics.total("grpc_server_handling_seconds_count"))


class DocumentTest(unittest.TestCase):
    def test_it_says_what_a_server_with_everything_exports(self):
        with Authority() as authority:
            certificate, key = authority.issue("server", f"DNS:{SERVER_NAME}")
            with QuireServer("--tls-cert", str(certificate), "--tls-key", str(key),
                             "--admin-listen", "127.0.0.1:0", "--metrics-compat",
                             "vllm") as server:
                rendered = make_metrics_document.render(server.metrics_text())
        self.maxDiff = None
        self.assertEqual((DEPLOY / "METRICS.md").read_text(), rendered)

    def test_what_fits_nowhere_is_an_error(self):
        with self.assertRaises(ValueError):
            make_metrics_document.render("# HELP new_thing It is.\n# TYPE new_thing gauge\n"
                                         "new_thing 1\n")


if __name__ == "__main__":
    unittest.main()
