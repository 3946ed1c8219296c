"""Bad requests: each gets its own clear refusal, and the answers beside them do not change by a bit."""

import math
import re
import unittest

import grpc

from quire_server import TIMEOUT, Answer, QuireServer, pb, unused_blocks
from status_details import details

INVALID = grpc.StatusCode.INVALID_ARGUMENT
HUGE = 2**32 - 1


def request(**fields):
    return pb.GenerateRequest(**{"text": "Anna has", "max_tokens": 4, **fields})


def with_ids(ids, **fields):
    return pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids), max_tokens=4, **fields)


# What is sent, the status, and what its message must name.
BAD = [
    (pb.GenerateRequest(max_tokens=4), INVALID, "prompt"),
    (request(text="", add_special_tokens=False), INVALID, "prompt"),
    (with_ids([]), INVALID, "prompt"),
    (with_ids([1, 768]), INVALID, "token_ids"),
    (with_ids([HUGE]), INVALID, "token_ids"),
    (with_ids([1] * 2049), INVALID, "2048"),
    (with_ids([1] * 100000), INVALID, "2048"),
    (request(text="a b " * 5000), INVALID, "2048"),
    (request(text="x" * (2 << 20)), INVALID, "bytes"),
    (request(model="another"), grpc.StatusCode.NOT_FOUND, "another"),
    (request(request_id="\n"), INVALID, "request_id"),
    (request(request_id="x" * 10000), INVALID, "request_id"),
    (request(max_tokens=0), INVALID, "max_tokens"),
    (request(max_tokens=HUGE), INVALID, "max_tokens"),
    (request(temperature=math.nan), INVALID, "temperature"),
    (request(temperature=math.inf), INVALID, "temperature"),
    (request(temperature=-0.5), INVALID, "temperature"),
    (request(top_p=math.nan), INVALID, "top_p"),
    (request(top_p=0), INVALID, "top_p"),
    (request(top_p=1.5), INVALID, "top_p"),
    (request(min_p=math.nan), INVALID, "min_p"),
    (request(min_p=-1), INVALID, "min_p"),
    (request(top_k=HUGE), INVALID, "top_k"),
    (request(repetition_penalty=0), INVALID, "repetition_penalty"),
    (request(repetition_penalty=math.nan), INVALID, "repetition_penalty"),
    (request(frequency_penalty=math.nan), INVALID, "frequency_penalty"),
    (request(frequency_penalty=1e30), INVALID, "frequency_penalty"),
    (request(presence_penalty=-math.inf), INVALID, "presence_penalty"),
    (request(logit_bias={768: 1.0}), INVALID, "logit_bias"),
    (request(logit_bias={1: math.nan}), INVALID, "logit_bias"),
    (request(stop=["x"] * 10000), INVALID, "stop"),
    (request(stop=[""]), INVALID, "stop"),
    (request(stop=["x" * 100000]), INVALID, "stop"),
    (request(stop_token_ids=[768]), INVALID, "stop_token_ids"),
    (request(stop_token_ids=[1] * 10000), INVALID, "stop_token_ids"),
    (request(min_tokens=5), INVALID, "min_tokens"),
    (request(min_tokens=HUGE), INVALID, "min_tokens"),
    (request(allowed_token_ids=[768]), INVALID, "allowed_token_ids"),
    (request(allowed_token_ids=[1] * 1000000), INVALID, "allowed_token_ids"),
    (request(bad_words=[""]), INVALID, "bad_words"),
    (request(bad_words=["x"] * 10000), INVALID, "bad_words"),
    (request(bad_words=["x" * 100000]), INVALID, "bad_words"),
    (request(bad_word_ids=[pb.TokenIds(ids=[768])]), INVALID, "bad_word_ids"),
    (request(bad_word_ids=[pb.TokenIds()]), INVALID, "bad_words"),
    (request(top_logprobs=5000000), INVALID, "top_logprobs"),
    (request(prompt_logprobs=HUGE), INVALID, "prompt_logprobs"),
    (request(truncate_prompt_tokens=0), INVALID, "truncate_prompt_tokens"),
    (request(message_interval=0), INVALID, "message_interval"),
    (request(n=0), INVALID, "n is 0"),
    (request(n=5000000), INVALID, "n is 5000000"),
    (pb.GenerateRequest(chat=pb.ChatPrompt(messages=[pb.ChatMessage(role="user", content="x")]),
                        max_tokens=4), grpc.StatusCode.FAILED_PRECONDITION, "chat"),
]

# Bytes that are no GenerateRequest: text that is not UTF-8, a length beyond the end, a deep nest,
# noise.
MALFORMED = [b"\x12\x03a\xffb", b"\x12\x7fshort", b"\x1b" * 5000, b"\xff" * 1000,
             b"\x12\xff\xff\xff\xff\x0f"]


def run(server, requests):
    """All at once over one connection; returns ids and logprobs of each."""
    answers = [Answer(call).read() for call in
               [server.stub.Generate(r, timeout=TIMEOUT) for r in requests]]
    for answer in answers:
        assert answer.code == grpc.StatusCode.OK, answer.call.details()
    return [(answer.ids, answer.logprobs, answer.text) for answer in answers]


class HostileTest(unittest.TestCase):
    def check_details(self, call):
        found = details(call)
        why = found["ErrorInfo"].reason
        self.assertEqual("BadRequest" in found, why == "INVALID_FIELD")
        if why == "INVALID_FIELD":
            violation, = found["BadRequest"].field_violations
            self.assertEqual(violation.description, call.details())
            # A field of the message, or the oneof that it belongs to.
            field = re.split(r"[.\[]", violation.field)[0]
            self.assertIn(field, [*pb.GenerateRequest.DESCRIPTOR.fields_by_name,
                                  *pb.GenerateRequest.DESCRIPTOR.oneofs_by_name])
        else:
            self.assertIn(why, ("TOO_LONG", "MODEL_NOT_FOUND", "NO_CHAT_FORMAT"))

    def send_bad_requests(self, server):
        channel, stub = server.connect()
        calls = [(bad, stub.Generate(bad[0], timeout=TIMEOUT)) for bad in BAD]
        for (sent, code, word), call in calls:
            with self.subTest(request=str(sent)[:200]):
                answer = Answer(call).read()
                self.assertEqual(answer.code, code, answer.call.details())
                self.assertIn(word, answer.call.details())
                self.assertLess(len(answer.call.details()), 2000, "a refusal echoes its cause")
                self.assertEqual(answer.messages, [])
                self.check_details(answer.call)
        raw = channel.unary_stream("/quire.v1.InferenceService/Generate")
        for data in MALFORMED:
            with self.assertRaises(grpc.RpcError) as raised:
                list(raw(data, timeout=TIMEOUT))
            # gRPC refuses it before any code of ours, with a status that depends on its version.
            self.assertIn(raised.exception.code(),
                          (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED))
        channel.close()

    def test_bad_requests_are_refused_and_change_no_answer_beside_them(self):
        self.assertGreaterEqual(len(BAD), 50)
        good = [request(text=f"Anna has {i} red pears. Tom has", max_tokens=300, ignore_eos=True,
                        logprobs=True, seed=i, temperature=1.0, top_k=0) for i in range(8)]
        with QuireServer("--max-stream-buffer", "64M") as server:
            quiet = run(server, good)
            calls = [server.stub.Generate(r, timeout=TIMEOUT) for r in good]
            self.send_bad_requests(server)
            disturbed = []
            for call in calls:
                answer = Answer(call).read()
                self.assertEqual(answer.code, grpc.StatusCode.OK)
                disturbed.append((answer.ids, answer.logprobs, answer.text))
            self.assertEqual(disturbed, quiet)
            metrics = server.metrics_at_rest()
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))


if __name__ == "__main__":
    unittest.main()
