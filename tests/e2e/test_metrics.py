"""/metrics of a server that has worked."""

import math
import unittest

from quire_server import Answer, QuireServer


class MetricsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with QuireServer() as server:
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
            buckets = sorted((float(dict(labels)["le"].replace("+Inf", "inf")), count)
                             for labels, count in self.metrics.samples[name + "_bucket"].items())
            counts = [count for _, count in buckets]
            self.assertEqual(counts, sorted(counts), name)
            self.assertEqual(buckets[-1][0], math.inf, name)
            self.assertEqual(counts[-1], self.metrics.value(name + "_count"), name)
        for name in ["quire_time_to_first_token_seconds", "quire_request_duration_seconds",
                     "quire_request_queue_seconds"]:
            self.assertEqual(self.metrics.value(name + "_count"), 5, name)
        self.assertEqual(self.metrics.value("quire_inter_token_latency_seconds_count"), 95)
        self.assertEqual(self.metrics.value("quire_step_duration_seconds_count"),
                         self.metrics.total("quire_steps_total"))


if __name__ == "__main__":
    unittest.main()
