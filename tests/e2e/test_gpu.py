"""The server on an emulated GPU: its whole way, from the call to the kernels."""

import os
import unittest

import grpc

from quire_server import (SERVICE, TIMEOUT, Answer, QuireServer, health_pb2, health_pb2_grpc, pb,
                          run_to_end)

CPU, GPU = os.environ["QUIRE_SERVER"], os.environ["QUIRE_SERVER_ON_EMULATED_GPU"]
# Such as the demo model was trained for.
QUESTION = ("Story: In the red box 7 green pears lie. Nora went to the harbour. Hugo likes owls.\n"
            "Q: Where did Nora go?\nA:")
GREEDY = {"max_tokens": 8, "ignore_eos": True}


def server(binary, *flags, start=QuireServer, **environment):
    """Starts `binary` with `environment` added to its own."""
    added = {"QUIRE_SERVER": binary, **environment}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        return start(*flags)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class GpuTest(unittest.TestCase):
    def test_answers_are_those_of_the_cpu_and_the_memory_is_accounted_for(self):
        prompts = ["Anna has", "Ben has 7 apples."]
        with server(CPU, "--device", "cpu") as cpu:
            expected = [Answer(cpu.generate(p, **GREEDY)).read().ids for p in prompts]
        with server(GPU, "--device", "cuda", "--max-step-tokens", "64", "--max-running", "4") as gpu:
            answers = [Answer(gpu.generate(p, **GREEDY)) for p in prompts]
            self.assertEqual([answer.read().ids for answer in answers], expected)
            metrics = gpu.metrics_at_rest()
            held = {kind: metrics.value("quire_memory_bytes", kind=kind)
                    for kind in ("weights", "kv", "workspace", "graphs")}
            self.assertGreater(held["weights"], 2.8e6)
            self.assertGreater(held["kv"], held["weights"])
            self.assertGreater(held["workspace"], 64 * 192 * 4)
            self.assertGreater(held["graphs"], 0, "steps of one bucket were recorded")
            self.assertIn("emulated GPU", gpu.metrics_text())

    def test_fp8_kv_takes_half_the_memory_and_answers_the_same(self):
        answers, kv_bytes = {}, {}
        for dtype in ("bf16", "fp8_e4m3"):
            with server(GPU, "--kv-dtype", dtype, "--max-step-tokens", "64",
                        "--max-running", "4") as gpu:
                answers[dtype] = list(Answer(gpu.generate(QUESTION, **GREEDY)).read().ids)
                kv_bytes[dtype] = gpu.metrics().value("quire_memory_bytes", kind="kv")
                self.assertIn(f'dtype="{dtype}"', gpu.metrics_text())
                self.assertIn(f"KV cache in {dtype}", "".join(gpu.log))
        self.assertEqual(answers["fp8_e4m3"], answers["bf16"])
        self.assertLess(kv_bytes["fp8_e4m3"], 0.6 * kv_bytes["bf16"])

    def test_preempted_requests_come_back_from_host_memory_with_the_same_answers(self):
        # Each starts with 3 blocks of 16 KiB and needs 5 in the end; there are 12.
        flags = ("--max-step-tokens", "64", "--max-running", "3", "--batch-invariant")
        prompts = [QUESTION.replace("Nora", name) for name in ("Anna", "Hugo", "Mara")]
        wanted = {"max_tokens": 40, "ignore_eos": True}
        with server(GPU, *flags) as gpu:
            expected = [Answer(gpu.generate(p, **wanted)).read().ids for p in prompts]
        with server(GPU, *flags, "--overcommit", "--kv-memory", "192K") as gpu:
            answers = [Answer(gpu.generate(p, **wanted)) for p in prompts]
            self.assertEqual([answer.read().ids for answer in answers], expected)
            metrics = gpu.metrics_at_rest()
            swaps = metrics.value("quire_tenant_swaps_total", tenant="default")
            self.assertGreater(swaps, 0)
            self.assertEqual(metrics.value("quire_tenant_preemptions_total", tenant="default"), swaps)
            self.assertEqual(metrics.value("quire_tenant_recomputed_tokens_total", tenant="default"), 0)
            moved = {to: metrics.value("quire_kv_swapped_bytes_total", direction=to)
                     for to in ("out", "in")}
            self.assertGreater(moved["out"], 0)
            self.assertEqual(moved["in"], moved["out"])
            self.assertEqual(metrics.value("quire_kv_host_bytes", state="used"), 0)
            self.assertIn("swapped to", "".join(gpu.log))

    def test_the_kv_cache_gets_its_share_of_what_weights_and_workspace_leave(self):
        memory = 8 << 20
        with server(GPU, "--max-step-tokens", "64", "--max-running", "4",
                    QUIRE_EMULATED_GPU_MEMORY=str(memory)) as gpu:
            held = {kind: gpu.metrics().value("quire_memory_bytes", kind=kind)
                    for kind in ("weights", "kv", "workspace")}
            left = memory - held["weights"] - held["workspace"]
            self.assertLessEqual(held["kv"], 0.9 * left)
            self.assertGreater(held["kv"], 0.8 * left)

    def test_without_room_it_ends_with_a_line_that_says_what_to_lower(self):
        code, log = server(GPU, start=run_to_end, QUIRE_EMULATED_GPU_MEMORY=str(4 << 20))
        self.assertEqual(code, 1)
        self.assertIn("out of memory", log)
        self.assertIn("lower --max-step-tokens, --max-running or --max-context", log)

    def test_a_lost_gpu_ends_every_stream_flips_health_and_ends_the_process(self):
        gpu = server(GPU, "--device", "cuda", QUIRE_EMULATED_GPU_LOST_AFTER="400")
        watch = health_pb2_grpc.HealthStub(gpu.channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=TIMEOUT)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        answers = [Answer(gpu.generate(max_tokens=500, ignore_eos=True)) for _ in range(3)]
        for answer in answers:
            answer.read()
            self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)
            self.assertIn("the emulated GPU fails as asked", answer.call.details())
            self.assertEqual(answer.finish_reason, pb.FINISH_REASON_ERROR)
            self.assertLess(len(answer.ids), 500)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.assertEqual(gpu.wait(), 1)
        self.assertIn("ended because the device failed", "".join(gpu.log))


if __name__ == "__main__":
    unittest.main()
