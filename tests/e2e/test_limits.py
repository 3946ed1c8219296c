"""Deadlines, full queues, slow readers, and what fits a bound to the byte."""

import unittest

import grpc

from http2_client import (GENERATE, MAX_CONCURRENT_STREAMS, Connection, call_headers, header_bytes,
                          message)
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
        with QuireServer("--max-running", "1", "--pause-grace", "1h", "--write-stall-timeout",
                         "0") as server:
            channel, held = server.hold_place()
            late = Answer(server.generate(max_tokens=1, timeout=1)).read()
            self.assertEqual(late.code, grpc.StatusCode.DEADLINE_EXCEEDED)
            # The client gives up by itself; the server has to have ended the request as well.
            server.metrics_when(
                lambda m: m.value("quire_requests_finished_total", reason="deadline") +
                m.value("quire_requests_finished_total", reason="cancelled") == 1)
            held.call.cancel()
            channel.close()


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
    def test_scores_of_a_prompt_reach_a_slow_reader(self):
        ids = [7 + i % 200 for i in range(1000)]
        with QuireServer("--max-stream-buffer", "1K", "--max-step-tokens", "64",
                         "--max-running", "4") as server:
            channel, stub = server.connect(NARROW)
            answer = Answer(server.generate(stub=stub, token_ids=pb.TokenIds(ids=ids), max_tokens=1,
                                            prompt_logprobs=3)).read(at_most=1)
            server.metrics_when(lambda m: not m.value("quire_requests_running"))
            answer.read()
            self.assertEqual(answer.code, grpc.StatusCode.OK)
            self.assertEqual(len(answer.prompt_logprobs), len(ids) - 1)
            self.assertGreater(len(answer.messages), 4, "not all in one")
            channel.close()

    def test_a_slow_reader_is_cut_off_with_an_intact_beginning(self):
        with QuireServer("--max-stream-buffer", "1K", "--max-unread-tokens", "0") as server:
            channel, stub = server.connect(NARROW)
            answer = Answer(server.generate(stub=stub, max_tokens=1900, ignore_eos=True,
                                            logprobs=True, seed=1))
            answer.read(at_most=1)
            metrics = server.metrics_when(
                lambda m: m.value("quire_requests_finished_total", reason="cancelled") == 1)
            self.assertEqual(metrics.value("quire_slow_readers_total", reason="buffer"), 1)
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


class SizeTest(unittest.TestCase):
    """At each bound, and one beyond."""

    def test_the_length_of_a_message(self):
        with QuireServer("--max-message-bytes", "1K") as server:
            for size, code in [(1024, grpc.StatusCode.OK), (1025, grpc.StatusCode.RESOURCE_EXHAUSTED)]:
                request = pb.GenerateRequest(text="a" * 1000, max_tokens=1)
                request.text += "a" * (size - request.ByteSize())
                self.assertEqual(request.ByteSize(), size)
                answer = Answer(server.stub.Generate(request)).read()
                self.assertEqual(answer.code, code, answer.call.details())

    def test_the_length_of_metadata(self):
        body = message(pb.GenerateRequest(text="a", max_tokens=1).SerializeToString())
        with QuireServer("--max-metadata-bytes", "8K") as server:
            for size, code in [(8192, grpc.StatusCode.OK), (8193, grpc.StatusCode.RESOURCE_EXHAUSTED)]:
                room = size - header_bytes(call_headers(GENERATE, ("x", "")))
                headers = call_headers(GENERATE, ("x", "a" * room))
                self.assertEqual(header_bytes(headers), size)
                with Connection(server.address).start() as connection:
                    status = connection.trailers(connection.call(body, headers))
                self.assertEqual(status["grpc-status"], str(code.value[0]), status)

    def test_the_calls_on_a_connection(self):
        with QuireServer("--max-connection-streams", "3") as server:
            # A client that keeps to what it was told waits with the fourth.
            calls = [server.generate(max_tokens=100, ignore_eos=True) for _ in range(4)]
            for call in calls:
                self.assertEqual(Answer(call).read().code, grpc.StatusCode.OK)
            # One that does not loses its connection.
            body = message(pb.GenerateRequest(text="a", max_tokens=1900,
                                              ignore_eos=True).SerializeToString())
            connection = Connection(server.address, window=1).start()
            self.assertEqual(connection.server_settings[MAX_CONCURRENT_STREAMS], 3)
            for _ in range(3):
                connection.call(body)
            server.metrics_when(lambda m: m.value("quire_streams_open") == 3)
            connection.call(body)
            connection.read_to_end()
            metrics = server.metrics_at_rest()
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))


if __name__ == "__main__":
    unittest.main()
