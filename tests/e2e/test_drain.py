"""SIGTERM with live streams: everybody gets a status and the exit code is 0.

QUIRE_DRAINS says how many drains with 64 streams there are, 1 where it is not set.
"""

import os
import signal
import threading
import unittest

import grpc

from quire_server import SERVICE, TIMEOUT, Answer, QuireServer, health_pb2, pb

def begin(server, streams=32, **fields):
    """Starts streams and reads one message of each."""
    answers = [Answer(server.generate(**fields)) for _ in range(streams)]
    for answer in answers:
        answer.read(at_most=1)
    return answers


class DrainTest(unittest.TestCase):
    def test_without_grace_every_stream_ends_with_shutdown(self):
        for drain in range(int(os.environ.get("QUIRE_DRAINS", "1"))):
            with self.subTest(drain=drain):
                self.drain_without_grace()

    def drain_without_grace(self):
        server = QuireServer("--drain-timeout", "0")
        answers = begin(server, streams=64, max_tokens=1900, ignore_eos=True)
        server.signal()
        for answer in answers:
            answer.read()
        self.assertEqual(server.wait(), 0)
        ended = 0
        for answer in answers:
            if answer.code == grpc.StatusCode.OK:
                self.assertEqual(len(answer.ids), 1900)
                continue
            ended += 1
            self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)
            self.assertIn("shutting down", answer.call.details())
            self.assertEqual(answer.finish_reason, pb.FINISH_REASON_SHUTDOWN)
            self.assertEqual(answer.usage.generated_tokens, len(answer.ids))
        self.assertGreater(ended, 0, "no stream was live when the signal came")

    def test_with_grace_running_requests_finish_and_new_ones_are_refused(self):
        server = QuireServer("--drain-timeout", "100s")
        answers = begin(server, streams=16, max_tokens=1900, ignore_eos=True)
        server.signal()
        while server.health(SERVICE) != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass  # each check is a round trip; its deadline ends the test
        self.assertEqual(server.health(""), health_pb2.HealthCheckResponse.SERVING)
        refused = Answer(server.generate(max_tokens=1)).read()
        self.assertEqual(refused.code, grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(refused.messages, [])
        for answer in answers:
            answer.read()
            self.assertEqual(answer.code, grpc.StatusCode.OK)
            self.assertEqual(len(answer.ids), 1900)
        self.assertEqual(server.wait(), 0)

    def test_a_second_signal_cuts_the_grace(self):
        server = QuireServer("--drain-timeout", "1000s", "--max-running", "2", "--max-queued",
                             "2000", "--threads", "1")
        first = server.generate(max_tokens=1900, ignore_eos=True)
        Answer(first).read(at_most=1)
        calls = [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(200)]
        server.signal()
        while server.health(SERVICE) != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass  # each check is a round trip; its deadline ends the test
        server.signal(signal.SIGINT)
        codes = {Answer(call).read().code for call in calls}
        self.assertEqual(server.wait(), 0)
        self.assertIn(grpc.StatusCode.UNAVAILABLE, codes)
        self.assertLessEqual(codes, {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE})

    def test_a_drain_crossed_by_cancels_ends(self):
        server = QuireServer("--drain-timeout", "0")
        answers = begin(server, max_tokens=1900, ignore_eos=True)
        storm = [threading.Thread(target=answer.call.cancel) for answer in answers]
        server.signal()
        for thread in storm:
            thread.start()
        for thread in storm:
            thread.join(TIMEOUT)
        self.assertEqual(server.wait(), 0)
        for answer in answers:
            answer.read()
            self.assertIsNotNone(answer.code)

    def test_a_reader_that_stands_still_does_not_hold_the_drain(self):
        # What is paused is computed on in a drain: it ends long before the grace.
        for grace in ("0", "10m"):
            server = QuireServer("--drain-timeout", grace, "--write-stall-timeout", "0")
            channel, _ = server.hold_place()
            self.assertEqual(server.metrics().value("quire_streams_open"), 1)
            server.signal()
            self.assertEqual(server.wait(), 0)
            self.assertIn("aborting 1 streams", "".join(server.log))
            channel.close()

    def test_an_idle_server_ends_at_once(self):
        server = QuireServer()
        self.assertEqual(server.stop(), 0)
        self.assertIn("quire-server: ended\n", server.log)


if __name__ == "__main__":
    unittest.main()
