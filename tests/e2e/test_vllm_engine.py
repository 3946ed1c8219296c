"""vllm.grpc.engine.VllmEngine, with the stubs that the routers' own package ships."""

import unittest

import grpc
from smg_grpc_proto import vllm_engine_pb2 as vllm
from smg_grpc_proto import vllm_engine_pb2_grpc

from quire_server import TIMEOUT, Answer, QuireServer, unused_blocks
from tenant_files import ConfigFile, as_tenant, with_keys

TENANTS = with_keys({"name": "acme"}, {"name": "guest"})
# What routers mean by a field left out; quire.v1 would take the model's own.
NEUTRAL = {"top_p": 1, "top_k": 0, "repetition_penalty": 1}


class Pieces:
    """What a call's messages say of each of its answers."""

    def __init__(self, call):
        self.ids, self.ends, self.logprobs, self.input_logprobs = {}, {}, {}, None
        self.messages, self.call, self.code = [], call, None
        try:
            for message in call:
                self.messages.append(message)
                self.add(message)
        except grpc.RpcError as error:
            self.code = error.code()

    def add(self, message):
        if message.HasField("chunk"):
            chunk = message.chunk
            assert chunk.index not in self.ends, "a piece behind the end"
            assert chunk.completion_tokens == len(chunk.token_ids)
            self.ids.setdefault(chunk.index, []).extend(chunk.token_ids)
            self.logprobs.setdefault(chunk.index, []).extend(chunk.output_logprobs.token_logprobs)
            if chunk.HasField("input_logprobs"):
                assert self.input_logprobs is None, "they come once"
                self.input_logprobs = chunk.input_logprobs
        else:
            assert message.complete.index not in self.ends, "two ends"
            self.ends[message.complete.index] = message.complete


class VllmEngineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.file = cls.enterClassContext(ConfigFile(TENANTS))
        cls.server = cls.enterClassContext(QuireServer("--config", cls.file.path))
        cls.stub = vllm_engine_pb2_grpc.VllmEngineStub(cls.server.channel)
        native = cls.native(max_tokens=1, echo=True)
        cls.prompt = native.prompt_ids

    @classmethod
    def native(cls, **fields):
        return Answer(cls.server.generate(metadata=as_tenant("acme"), **fields)).read()

    def generate(self, tenant="acme", stream=True, name="", ids=None, fields=None, **sampling):
        sampling = {"skip_special_tokens": True, **sampling}
        request = vllm.GenerateRequest(
            request_id=name, stream=stream, tokenized=vllm.TokenizedInput(
                input_ids=self.prompt if ids is None else ids),
            sampling_params=vllm.SamplingParams(**sampling), **(fields or {}))
        return self.stub.Generate(request, timeout=TIMEOUT, metadata=as_tenant(tenant))

    def test_streamed_and_whole_answers_are_those_of_quire_v1(self):
        sampling = {"max_tokens": 12, "temperature": 0.8, "seed": 3}
        native = self.native(**sampling, **NEUTRAL)
        streamed = Pieces(self.generate(**sampling))
        self.assertEqual(streamed.ids[0], native.ids)
        self.assertGreater(len(streamed.messages), 2)
        whole = Pieces(self.generate(stream=False, **sampling))
        self.assertEqual(len(whole.messages), 1)
        self.assertEqual(list(whole.ends[0].output_ids), native.ids)
        self.assertEqual(whole.ends[0].completion_tokens, len(native.ids))
        for pieces in (streamed, whole):
            self.assertIsNone(pieces.code)
            self.assertEqual(pieces.ends[0].prompt_tokens, len(self.prompt))
            self.assertIn(pieces.ends[0].finish_reason, ("stop", "length"))

    def test_several_answers_and_logprobs(self):
        pieces = Pieces(self.generate(n=3, seed=5, temperature=1.0, max_tokens=6, ignore_eos=True,
                                      logprobs=2, prompt_logprobs=1))
        self.assertEqual(sorted(pieces.ends), [0, 1, 2])
        for index in range(3):
            self.assertEqual(len(pieces.ids[index]), 6)
            self.assertEqual(len(pieces.logprobs[index]), 6)
        scores = pieces.input_logprobs
        self.assertEqual(list(scores.token_ids), self.prompt)
        self.assertEqual([entry.HasField("value") for entry in scores.token_logprobs],
                         [False] + [True] * (len(self.prompt) - 1))
        self.assertEqual(len(scores.top_logprobs), len(self.prompt))
        whole = Pieces(self.generate(stream=False, n=3, seed=5, temperature=1.0, max_tokens=6,
                                     ignore_eos=True))
        self.assertEqual({index: list(end.output_ids) for index, end in whole.ends.items()},
                         pieces.ids)

    def test_what_is_left_out_changes_nothing(self):
        plain = Pieces(self.generate(stream=False, seed=11, max_tokens=12))
        native = self.native(seed=11, max_tokens=12, temperature=1, **NEUTRAL)
        self.assertEqual(list(plain.ends[0].output_ids), native.ids)

    def test_what_has_no_translation_is_refused(self):
        for fields, sampling, expected in [
                ({}, {"json_schema": "{}"}, "structured outputs"),
                ({}, {"regex": "a"}, "structured outputs"),
                ({}, {"logprobs": -1}, "logprobs is -1"),
                ({}, {"prompt_logprobs": -1}, "prompt_logprobs is -1"),
                ({}, {"logit_bias": {-1: 1.0}}, "logit_bias is -1"),
                ({}, {"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
                ({}, {"temperature": -1.0}, "temperature is -1"),
                ({"mm_inputs": vllm.MultimodalInputs(im_token_id=1)}, {}, "mm_inputs is set"),
                ({"media_refs": vllm.MediaRefs()}, {}, "media_refs is set"),
                ({"kv_transfer_params_json": "{}"}, {}, "kv_transfer_params is set"),
                ({"data_parallel_rank": 1}, {}, "data_parallel_rank is 1")]:
            pieces = Pieces(self.generate(fields=fields, **sampling))
            self.assertEqual(pieces.code, grpc.StatusCode.INVALID_ARGUMENT, expected)
            self.assertIn(expected, pieces.call.details())
            self.assertFalse(pieces.messages)
        self.assertEqual(Pieces(self.generate(ids=[])).code, grpc.StatusCode.INVALID_ARGUMENT)
        allowed = Pieces(self.generate(fields={"data_parallel_rank": 0}, max_tokens=1,
                                       truncate_prompt_tokens=-1))
        self.assertIsNone(allowed.code)

    def test_abort_ends_the_callers_own_calls_alone(self):
        free = unused_blocks(self.server.metrics_at_rest())
        call = self.generate(name="same", max_tokens=1900, ignore_eos=True)
        next(call)
        self.stub.Abort(vllm.AbortRequest(request_ids=["same", "unknown"]), timeout=TIMEOUT,
                        metadata=as_tenant("guest"))
        next(call)
        self.stub.Abort(vllm.AbortRequest(request_ids=["same"]), timeout=TIMEOUT,
                        metadata=as_tenant("acme"))
        pieces = Pieces(call)
        self.assertEqual(pieces.ends[0].finish_reason, "abort")
        self.assertEqual(pieces.code, grpc.StatusCode.CANCELLED)
        self.assertEqual(unused_blocks(self.server.metrics_at_rest()), free)

    def test_what_a_router_asks_of_its_worker(self):
        self.assertTrue(self.stub.HealthCheck(vllm.HealthCheckRequest(), timeout=TIMEOUT).healthy)
        arguments = {"timeout": TIMEOUT, "metadata": as_tenant("acme")}
        model = self.stub.GetModelInfo(vllm.GetModelInfoRequest(), **arguments)
        self.assertEqual(model.served_model_name, "quire-demo")
        self.assertTrue(model.is_generation)
        self.assertGreater(model.vocab_size, 0)
        self.assertEqual(model.max_context_length, model.max_req_input_len + 1)
        server = self.stub.GetServerInfo(vllm.GetServerInfoRequest(), **arguments)
        self.assertEqual((server.data_parallel_size, server.block_size, server.max_num_seqs),
                         (1, 16, 128))
        call = self.generate(max_tokens=1900, ignore_eos=True)
        next(call)
        (load,) = self.stub.GetLoads(vllm.GetLoadsRequest(), **arguments).loads
        self.assertEqual((load.num_running_reqs, load.num_waiting_reqs), (1, 0))
        self.assertGreater(load.num_used_tokens, 0)
        self.assertGreater(load.max_total_num_tokens, load.num_used_tokens)
        call.cancel()

    def test_who_shows_nothing_is_told_nothing(self):
        for ask, request in [(self.stub.GetModelInfo, vllm.GetModelInfoRequest()),
                             (self.stub.GetServerInfo, vllm.GetServerInfoRequest()),
                             (self.stub.GetLoads, vllm.GetLoadsRequest()),
                             (self.stub.Abort, vllm.AbortRequest())]:
            with self.assertRaises(grpc.RpcError) as raised:
                ask(request, timeout=TIMEOUT)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        with self.assertRaises(grpc.RpcError) as raised:
            next(self.stub.Generate(vllm.GenerateRequest(), timeout=TIMEOUT))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        with self.assertRaises(grpc.RpcError) as raised:
            self.stub.Embed(vllm.EmbedRequest(), timeout=TIMEOUT)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
