"""Answers, seen by a stock client."""

import unittest

import grpc

from quire_server import (SERVICE, TIMEOUT, Answer, QuireServer, health_pb2, pb, reflection_pb2,
                          reflection_pb2_grpc)

PROMPTS = ["Anna has", "Once", "the", "14", "Tom", "a", "Ben", "red and", "12 plus", "x"]


class GenerateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f"exit code {code}: {''.join(cls.server.log)}")

    def answer(self, *args, **fields):
        return Answer(self.server.generate(*args, **fields)).read()

    def test_an_answer_streams_to_its_end(self):
        answer = self.answer(max_tokens=40, ignore_eos=True, temperature=0)
        self.assertEqual(answer.code, grpc.StatusCode.OK)
        self.assertEqual(answer.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(len(answer.ids), 40)
        self.assertEqual(answer.usage.generated_tokens, 40)
        self.assertGreater(answer.usage.prompt_tokens, 0)
        timings = answer.messages[-1].timings
        self.assertLessEqual(timings.queue_seconds, timings.time_to_first_token_seconds)
        self.assertLessEqual(timings.time_to_first_token_seconds, timings.total_seconds)

    def test_the_text_is_what_the_ids_decode_to(self):
        for seed, prompt in enumerate(PROMPTS):
            answer = self.answer(prompt, max_tokens=60, ignore_eos=True, temperature=1, seed=seed)
            decoded = self.server.stub.Detokenize(
                pb.DetokenizeRequest(token_ids=answer.ids), timeout=TIMEOUT)
            self.assertEqual(answer.text, decoded.text)

    def test_text_and_its_token_ids_give_the_same_answer(self):
        ids = self.server.stub.Tokenize(pb.TokenizeRequest(text="Anna has"), timeout=TIMEOUT)
        by_text = self.answer("Anna has", max_tokens=20, temperature=0)
        by_ids = self.answer(token_ids=pb.TokenIds(ids=ids.token_ids), max_tokens=20, temperature=0)
        self.assertEqual(by_text.ids, by_ids.ids)
        self.assertEqual(by_text.usage.prompt_tokens, len(ids.token_ids))

    def test_a_seed_repeats_an_answer_and_the_batch_does_not_change_it(self):
        alone = [self.answer(p, max_tokens=50, temperature=1, seed=7).ids for p in PROMPTS]
        calls = [self.server.generate(p, max_tokens=50, temperature=1, seed=7) for p in PROMPTS]
        together = [Answer(call).read().ids for call in calls]
        self.assertEqual(alone, together)

    def test_a_stop_string_ends_the_answer_before_itself(self):
        whole = self.answer(max_tokens=60, ignore_eos=True, temperature=0)
        stop = whole.text[5:9]
        cut = self.answer(max_tokens=60, ignore_eos=True, temperature=0, stop=["\x01", stop])
        self.assertEqual(cut.text, whole.text[:whole.text.index(stop)])
        self.assertEqual(cut.finish_reason, pb.FINISH_REASON_STOP)
        self.assertEqual(cut.code, grpc.StatusCode.OK)
        self.assertEqual(cut.ids, whole.ids[:len(cut.ids)])

    def test_a_stop_token_id_ends_the_answer_with_itself(self):
        whole = self.answer(max_tokens=60, ignore_eos=True, temperature=0)
        cut = self.answer(max_tokens=60, ignore_eos=True, temperature=0,
                          stop_token_ids=[whole.ids[10]])
        self.assertEqual(cut.ids, whole.ids[:whole.ids.index(whole.ids[10]) + 1])
        self.assertEqual(cut.finish_reason, pb.FINISH_REASON_STOP)

    def test_logprobs_come_with_their_tokens_where_asked_for(self):
        answer = self.answer(max_tokens=10, ignore_eos=True, logprobs=True, temperature=0)
        self.assertEqual(len(answer.logprobs), 10)
        for value in answer.logprobs:
            self.assertLessEqual(value, 0)
        self.assertEqual(self.answer(max_tokens=10).logprobs, [])

    def test_the_request_id_is_echoed_or_given(self):
        self.assertEqual(self.answer(max_tokens=1, request_id="mine").messages[0].request_id, "mine")
        self.assertNotEqual(self.answer(max_tokens=1).messages[0].request_id, "")

    def test_a_bad_request_is_refused_with_the_field(self):
        for field, value in [("max_tokens", 0), ("temperature", -1.0), ("top_p", 2.0),
                             ("stop_token_ids", [1 << 20]), ("max_tokens", 100000)]:
            answer = self.answer(**{field: value})
            self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(field, answer.call.details())
            self.assertEqual(answer.messages, [])

    def test_an_unknown_model_is_not_found(self):
        self.assertEqual(self.answer(model="other").code, grpc.StatusCode.NOT_FOUND)

    def test_models_are_described(self):
        models = self.server.stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
        self.assertEqual(len(models), 1)
        model = self.server.stub.GetModel(
            pb.GetModelRequest(model=models[0].name), timeout=TIMEOUT).model
        self.assertEqual(model, models[0])
        self.assertEqual(len(model.kv_groups), model.num_layers)
        (kv_cache,) = model.kv_caches
        self.assertGreater(kv_cache.num_blocks, 0)
        bytes_of = {"f32": 4, "f16": 2, "bf16": 2}[kv_cache.dtype]
        self.assertGreaterEqual(
            kv_cache.block_bytes,
            kv_cache.block_tokens * 2 * model.head_dim * bytes_of * sum(model.kv_groups))

    def test_health_knows_the_process_and_the_service(self):
        for name in ["", SERVICE]:
            self.assertEqual(self.server.health(name), health_pb2.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as raised:
            self.server.health("no.such.Service")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def reflect(self, **request):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.server.channel)
        replies = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=TIMEOUT)
        return next(iter(replies))

    def test_reflection_lists_and_describes_every_service(self):
        reply = self.reflect(list_services="")
        names = [service.name for service in reply.list_services_response.service]
        for name in [SERVICE, "grpc.health.v1.Health"]:
            self.assertIn(name, names)
            files = self.reflect(file_containing_symbol=name).file_descriptor_response
            self.assertTrue(files.file_descriptor_proto, f"{name} is not described")

    def test_compressed_requests_are_refused(self):
        call = self.server.stub.Tokenize.with_call
        with self.assertRaises(grpc.RpcError) as raised:
            call(pb.TokenizeRequest(text="a" * 100000), timeout=TIMEOUT,
                 compression=grpc.Compression.Gzip)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
