"""Cancels at random moments: nothing leaks and everybody gets one status."""

import os
import random
import threading
import unittest

import grpc

from quire_server import TIMEOUT, Answer, QuireServer, pb, unused_blocks

STREAMS = 200
CANCELLED_SHARE = 0.3


class CancelTest(unittest.TestCase):
    def run_one(self, server, plan, outcomes, index):
        prompt, max_tokens, cancel_after = plan
        call = server.generate(prompt, max_tokens=max_tokens, ignore_eos=True)
        answer = Answer(call)
        if cancel_after is not None:
            if cancel_after > 0:
                answer.read(at_most=cancel_after)
            call.cancel()
        answer.read()
        outcomes[index] = (answer, call.code())

    def test_a_storm_of_cancels_leaves_every_block_free(self):
        seed = int(os.environ.get("QUIRE_SEED", random.SystemRandom().getrandbits(32)))
        print(f"QUIRE_SEED={seed}", flush=True)
        rng = random.Random(seed)
        with QuireServer("--max-running", "48") as server:
            plans = [("x " * rng.randint(1, 60), rng.randint(1, 150),
                      rng.randint(0, 20) if rng.random() < CANCELLED_SHARE else None)
                     for _ in range(STREAMS)]
            outcomes = [None] * STREAMS
            threads = [threading.Thread(target=self.run_one, args=(server, plan, outcomes, i))
                       for i, plan in enumerate(plans)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
            self.check_outcomes(plans, outcomes)
            self.check_metrics(server)

    def check_outcomes(self, plans, outcomes):
        for (_, max_tokens, cancel_after), outcome in zip(plans, outcomes):
            self.assertIsNotNone(outcome, "a stream has not ended")
            answer, code = outcome
            if cancel_after is None:
                self.assertEqual(code, grpc.StatusCode.OK)
                self.assertEqual(len(answer.ids), max_tokens)
                self.assertEqual(answer.finish_reason, pb.FINISH_REASON_LENGTH)
            else:
                self.assertIn(code, (grpc.StatusCode.CANCELLED, grpc.StatusCode.OK))

    def check_metrics(self, server):
        metrics = server.metrics_at_rest()
        self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))
        self.assertEqual(metrics.value("quire_kv_allocated_blocks_total"),
                         metrics.value("quire_kv_freed_blocks_total") +
                         metrics.value("quire_kv_blocks", state="cached"))
        self.assertEqual(metrics.total("quire_requests_finished_total"),
                         metrics.value("quire_requests_accepted_total"))

    def test_a_client_that_dies_frees_its_blocks(self):
        with QuireServer() as server:
            channel, stub = server.connect()
            calls = [server.generate(stub=stub, max_tokens=1900, ignore_eos=True)
                     for _ in range(16)]
            for call in calls:
                Answer(call).read(at_most=1)
            channel.close()
            self.check_metrics(server)


if __name__ == "__main__":
    unittest.main()
