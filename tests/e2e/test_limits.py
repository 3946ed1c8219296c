"""Deadlines, full queues and slow readers."""

import unittest

import grpc

from quire_server import NARROW, Answer, QuireServer, pb, unused_blocks


class DeadlineTest(unittest.TestCase):
    def test_the_servers_deadline_ends_a_running_request_with_its_usage(self):
        with QuireServer("--max-deadline", "50ms") as server:
            calls = [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(48)]
            answers = [Answer(call).read() for call in calls]
            expired = [a for a in answers if a.code == grpc.StatusCode.DEADLINE_EXCEEDED]
            self.assertTrue(expired)
            for answer in expired:
                if answer.messages:
                    self.assertEqual(answer.finish_reason, pb.FINISH_REASON_DEADLINE)
                    self.assertEqual(answer.usage.generated_tokens, len(answer.ids))
            metrics = server.metrics()
            self.assertEqual(metrics.value("quire_requests_finished_total", reason="deadline"),
                             len(expired))
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))

    def test_the_clients_deadline_is_honoured(self):
        with QuireServer("--max-running", "1") as server:
            # One after the other: calls that wait for the connection go out in any order.
            running = server.generate(max_tokens=1900, ignore_eos=True)
            Answer(running).read(at_most=1)
            waiting = [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(40)]
            late = Answer(server.generate(max_tokens=1, timeout=0.05)).read()
            self.assertEqual(late.code, grpc.StatusCode.DEADLINE_EXCEEDED)
            # The client gives up by itself; the server has to have ended the request as well.
            server.metrics_when(
                lambda m: m.value("quire_requests_finished_total", reason="deadline") +
                m.value("quire_requests_finished_total", reason="cancelled") == 1)
            for call in [running, *waiting]:
                call.cancel()


class QueueTest(unittest.TestCase):
    def test_what_does_not_fit_the_queue_is_refused_and_nobody_else_suffers(self):
        with QuireServer("--max-running", "1", "--max-queued", "2") as server:
            calls = [server.generate(max_tokens=200, ignore_eos=True) for _ in range(50)]
            answers = [Answer(call).read() for call in calls]
            refused = [a for a in answers if a.code == grpc.StatusCode.RESOURCE_EXHAUSTED]
            self.assertTrue(refused)
            for answer in refused:
                self.assertEqual(answer.messages, [])
            for answer in answers:
                if answer not in refused:
                    self.assertEqual(answer.code, grpc.StatusCode.OK)
                    self.assertEqual(len(answer.ids), 200)
            metrics = server.metrics()
            rejected = (metrics.value("quire_admission_rejections_total", reason="queue_full") +
                        metrics.value("quire_admission_rejections_total", reason="streams"))
            self.assertEqual(rejected, len(refused))


class SlowReaderTest(unittest.TestCase):
    def test_a_slow_reader_is_cut_off_with_an_intact_beginning(self):
        with QuireServer("--max-stream-buffer", "1K") as server:
            channel, stub = server.connect(NARROW)
            answer = Answer(server.generate(stub=stub, max_tokens=1900, ignore_eos=True,
                                            logprobs=True, seed=1))
            answer.read(at_most=1)
            metrics = server.metrics_when(
                lambda m: m.value("quire_requests_finished_total", reason="cancelled") == 1)
            self.assertEqual(metrics.value("quire_slow_readers_total"), 1)
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))
            answer.read()
            self.assertEqual(answer.code, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("reads too slowly", answer.call.details())
            channel.close()
        # From a server that lets readers be slow: a busy machine makes any reader slow.
        with QuireServer() as server:
            whole = Answer(server.generate(max_tokens=1900, ignore_eos=True, logprobs=True,
                                           seed=1)).read()
            self.assertEqual(len(whole.ids), 1900)
            self.assertEqual(answer.ids, whole.ids[:len(answer.ids)])
            self.assertLess(len(answer.ids), len(whole.ids))


if __name__ == "__main__":
    unittest.main()
