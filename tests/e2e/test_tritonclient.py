"""The Open Inference Protocol, spoken by NVIDIA's tritonclient as it comes, over TLS."""

import json
import queue
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from certificates import SERVER_NAME, Authority
from quire_server import (TIMEOUT, Answer, QuireServer, inference_pb2_grpc, pb, unused_blocks)
from tenant_files import ConfigFile, as_tenant, with_keys

MODEL = "quire-demo"
TENANTS = with_keys({"name": "acme"}, {"name": "guest", "max_output_tokens": 8})
PROMPT = "Anna has"


def tensor(name, datatype, values):
    kinds = {"BYTES": object, "BOOL": bool, "INT32": np.int32, "INT64": np.int64,
             "UINT32": np.uint32, "UINT64": np.uint64, "FP32": np.float32}
    array = np.array(values, dtype=kinds[datatype])
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def prompt(text=PROMPT, **sampling):
    inputs = [tensor("text_input", "BYTES", [text.encode()])]
    if sampling:
        inputs.append(tensor("sampling_parameters", "BYTES", [json.dumps(sampling).encode()]))
    return inputs


def text_of(result):
    return result.as_numpy("text_output")[0].decode()


def headers(tenant):
    return dict(as_tenant(tenant))


class Stream:
    """A stream of tritonclient's, whose callbacks are put into a queue."""

    def __init__(self, client, tenant):
        self.client, self.results = client, queue.Queue()
        client.start_stream(lambda result, error: self.results.put((result, error)),
                            headers=headers(tenant))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.stop_stream(cancel_requests=error[0] is not None)

    def send(self, name, inputs, **arguments):
        self.client.async_stream_infer(MODEL, inputs, request_id=name, **arguments)

    def read(self):
        """The next message or error."""
        return self.results.get(timeout=TIMEOUT)

    def answers(self, count):
        """By request id, the messages of that many answers; an error is its text."""
        found, ended = {}, set()
        while len(ended) < count:
            result, error = self.read()
            if error is not None:
                raise error
            response = result.get_response()
            found.setdefault(response.id, []).append(result)
            if response.parameters["triton_final_response"].bool_param:
                ended.add(response.id)
        return found


class TritonclientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.file = cls.enterClassContext(ConfigFile(TENANTS))
        certificate, key = cls.authority.issue("server", f"DNS:{SERVER_NAME},IP:127.0.0.1")
        cls.server = cls.enterClassContext(
            QuireServer("--config", cls.file.path, "--tls-cert", str(certificate), "--tls-key",
                        str(key)))

    def client(self):
        made = triton.InferenceServerClient(self.server.address, ssl=True,
                                            root_certificates=str(self.authority.roots))
        self.addCleanup(made.close)
        return made

    def infer(self, client, inputs, tenant="acme", **arguments):
        return client.infer(MODEL, inputs, headers=headers(tenant), client_timeout=TIMEOUT,
                            **arguments)

    def refusal(self, client, inputs, tenant="acme", **arguments):
        with self.assertRaises(InferenceServerException) as raised:
            self.infer(client, inputs, tenant, **arguments)
        return raised.exception

    def test_health_and_metadata(self):
        client = self.client()
        self.assertTrue(client.is_server_live())
        self.assertTrue(client.is_server_ready())
        self.assertTrue(client.is_model_ready(MODEL))
        self.assertTrue(client.is_model_ready(MODEL, "1"))
        self.assertFalse(client.is_model_ready("other"))
        self.assertFalse(client.is_model_ready(MODEL, "2"))
        metadata = client.get_server_metadata(headers=headers("acme"))
        self.assertEqual(metadata.name, "quire")
        model = client.get_model_metadata(MODEL, headers=headers("acme"))
        self.assertEqual(model.name, MODEL)
        self.assertIn("text_input", [tensor.name for tensor in model.inputs])
        self.assertIn("text_output", [tensor.name for tensor in model.outputs])
        for ask in (client.get_server_metadata, lambda: client.get_model_metadata(MODEL)):
            with self.assertRaises(InferenceServerException) as raised:
                ask()
            self.assertEqual(raised.exception.status(), "StatusCode.UNAUTHENTICATED")

    def native(self, tenant="acme", **fields):
        """What quire.v1 answers."""
        credentials = grpc.ssl_channel_credentials(self.authority.roots.read_bytes())
        with grpc.secure_channel(self.server.address, credentials) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            return Answer(stub.Generate(pb.GenerateRequest(text=PROMPT, **fields), timeout=TIMEOUT,
                                        metadata=as_tenant(tenant))).read()

    def test_an_answer_is_that_of_quire_v1(self):
        sampling = {"max_tokens": 12, "temperature": 0.8, "seed": 7}
        native = self.native(**sampling)
        client = self.client()
        for result in [self.infer(client, prompt(**sampling), request_id="mine"),
                       self.infer(client, prompt(), request_id="mine", parameters=sampling)]:
            response = result.get_response()
            self.assertEqual((response.id, response.model_name, response.model_version),
                             ("mine", MODEL, "1"))
            self.assertEqual(text_of(result), native.text)
            self.assertEqual(list(result.as_numpy("token_ids")), native.ids)
            self.assertEqual(result.as_numpy("num_input_tokens")[0], native.usage.prompt_tokens)
            self.assertEqual(result.as_numpy("num_output_tokens")[0], len(native.ids))
            self.assertEqual(result.as_numpy("finish_reason")[0],
                             {pb.FINISH_REASON_STOP: b"stop",
                              pb.FINISH_REASON_LENGTH: b"length"}[native.finish_reason])

    def test_prompts_may_be_ids_and_outputs_chosen(self):
        native = self.native(max_tokens=6, temperature=0, echo=True)
        client = self.client()
        parameters = {"max_tokens": 6, "temperature": 0.0, "logprobs": True}
        for datatype in ("INT32", "INT64", "UINT32", "UINT64"):
            inputs = [tensor("input_ids", datatype, native.prompt_ids)]
            result = self.infer(client, inputs, parameters=parameters,
                                outputs=[triton.InferRequestedOutput("token_ids"),
                                         triton.InferRequestedOutput("logprobs")])
            self.assertEqual(list(result.as_numpy("token_ids")), native.ids)
            self.assertEqual(len(result.as_numpy("logprobs")), len(native.ids))
            self.assertIsNone(result.as_numpy("text_output"))
        inputs = [*prompt(), tensor("exclude_input_in_output", "BOOL", [False])]
        whole = text_of(self.infer(client, inputs, parameters={"max_tokens": 6, "temperature": 0}))
        self.assertEqual(whole, PROMPT + native.text)
        stopped = self.infer(client, prompt(), parameters={
            "max_tokens": 6, "temperature": 0, "stop": native.text.split()[-1]})
        self.assertEqual(stopped.as_numpy("finish_reason")[0], b"stop")

    def test_streams_bring_pieces_of_many_answers(self):
        native = {name: self.native(max_tokens=12, temperature=0.9, seed=seed)
                  for seed, name in enumerate(["a", "b", "c", "d"])}
        with Stream(self.client(), "acme") as stream:
            for seed, name in enumerate(native):
                stream.send(name, prompt(), parameters={"max_tokens": 12, "temperature": 0.9,
                                                        "seed": seed})
            for name, messages in stream.answers(len(native)).items():
                self.assertEqual("".join(map(text_of, messages)), native[name].text)
                self.assertGreater(len(messages), 1)
                ends = [message.as_numpy("finish_reason") is not None for message in messages]
                self.assertEqual(ends, [False] * (len(messages) - 1) + [True])
            stream.send("whole", [*prompt(), tensor("stream", "BOOL", [False])],
                        parameters={"max_tokens": 12, "temperature": 0.9, "seed": 0})
            (whole,) = stream.answers(1)["whole"]
            self.assertEqual(text_of(whole), native["a"].text)

    def test_an_error_on_a_stream_leaves_the_other_requests(self):
        with Stream(self.client(), "guest") as stream:
            stream.send("long", prompt(), parameters={"max_tokens": 9})
            _, error = stream.read()
            self.assertIn("max_tokens is 9", error.message())
            stream.send("good", prompt(), parameters={"max_tokens": 8, "ignore_eos": True})
            messages = stream.answers(1)["good"]
            self.assertEqual(sum(len(message.as_numpy("token_ids")) for message in messages), 8)

    def test_whose_a_call_is_on_a_shared_connection(self):
        client = self.client()
        for tenant in ["acme", "guest", "guest", "acme"] * 3:
            if tenant == "guest":
                error = self.refusal(client, prompt(max_tokens=9), tenant)
                self.assertEqual(error.status(), "StatusCode.INVALID_ARGUMENT")
            else:
                self.infer(client, prompt(max_tokens=9), tenant)
            with self.assertRaises(InferenceServerException) as raised:
                client.infer(MODEL, prompt())
            self.assertEqual(raised.exception.status(), "StatusCode.UNAUTHENTICATED")
        refused = queue.Queue()
        client.start_stream(lambda result, error: refused.put(error))
        self.assertEqual(refused.get(timeout=TIMEOUT).status(), "StatusCode.UNAUTHENTICATED")
        client.stop_stream()

    def test_requests_that_make_no_sense_are_told_why(self):
        client = self.client()
        one = prompt()
        for inputs, arguments, expected in [
                ([], {}, "inputs have no prompt"),
                ([tensor("other", "INT32", [1])], {}, 'inputs has "other"'),
                ([tensor("text_input", "INT32", [1])], {}, "text_input is INT32 [1]"),
                ([tensor("text_input", "BYTES", [b"a", b"b"])], {}, "text_input is BYTES [2]"),
                ([*one, tensor("input_ids", "INT32", [1])], {}, "second prompt"),
                ([tensor("input_ids", "INT64", [-1])], {}, "input_ids holds -1"),
                ([tensor("input_ids", "INT64", [1 << 20])], {}, "token_ids.ids"),
                ([tensor("input_ids", "FP32", [1.0])], {}, "input_ids is FP32 [1]"),
                (prompt(nonsense=1), {}, "sampling_parameters"),
                (prompt(n=2), {}, "has n, which cannot be set here"),
                (prompt(model="x"), {}, "has model"),
                ([*one, tensor("sampling_parameters", "BYTES", [b"{"])], {}, "sampling_parameters"),
                (one, {"parameters": {"nonsense": 1}}, "nonsense is no parameter"),
                (one, {"parameters": {"text": "x"}}, "text is no parameter"),
                (one, {"parameters": {"temperature": "hot"}}, "temperature must be a number"),
                (one, {"parameters": {"max_tokens": -1}}, "max_tokens must be an integer"),
                (one, {"parameters": {"max_tokens": 1 << 40}}, "max_tokens must be an integer"),
                (one, {"parameters": {"max_tokens": True}}, "max_tokens must be an integer"),
                (one, {"parameters": {"ignore_eos": 1}}, "ignore_eos must be a boolean"),
                (one, {"parameters": {"logit_bias": 1}}, "logit_bias is not one value"),
                (one, {"parameters": {"top_p": 1.5}}, "top_p is 1.5"),
                (one, {"priority": 1}, "priority counts the other way"),
                (one, {"sequence_id": 1, "sequence_start": True}, "is no parameter"),
                (one, {"outputs": [triton.InferRequestedOutput("logits")]}, 'outputs has "logits"')]:
            error = self.refusal(client, inputs, **arguments)
            self.assertEqual(error.status(), "StatusCode.INVALID_ARGUMENT", expected)
            self.assertIn(expected, error.message())
        for call in [lambda: client.infer("other", one, headers=headers("acme")),
                     lambda: client.infer(MODEL, one, "2", headers=headers("acme"))]:
            with self.assertRaises(InferenceServerException) as raised:
                call()
            self.assertEqual(raised.exception.status(), "StatusCode.NOT_FOUND")
        self.infer(client, one, parameters={"max_tokens": 1})

    def test_a_timeout_ends_a_request_and_leaves_the_stream(self):
        forever = {"max_tokens": 400, "ignore_eos": True}
        with Stream(self.client(), "acme") as stream:
            stream.client.async_stream_infer(MODEL, prompt(), request_id="late", timeout=1,
                                             parameters=forever)
            _, error = stream.read()
            self.assertIsNotNone(error)
            stream.send("next", prompt(), parameters={"max_tokens": 2})
            self.assertEqual(list(stream.answers(1)), ["next"])

    def test_streams_that_are_dropped_free_everything(self):
        free = unused_blocks(self.server.metrics_at_rest())
        for _ in range(8):
            stream = Stream(self.client(), "acme")
            for i in range(8):
                stream.send(str(i), prompt(), parameters={"max_tokens": 400, "ignore_eos": True})
            stream.read()
            stream.client.stop_stream(cancel_requests=True)
        self.assertEqual(unused_blocks(self.server.metrics_at_rest()), free)

    def test_a_stream_that_is_idle_does_not_hold_up_the_end(self):
        with QuireServer("--drain-timeout", "1s") as server:
            client = triton.InferenceServerClient(server.address)
            ended = queue.Queue()
            client.start_stream(lambda result, error: ended.put((result, error)))
            client.async_stream_infer(MODEL, prompt(max_tokens=2))
            while not ended.get(timeout=TIMEOUT)[0].get_response().parameters[
                    "triton_final_response"].bool_param:
                pass
            self.assertEqual(server.stop(), 0)
            self.assertIsNotNone(ended.get(timeout=TIMEOUT)[1])
            client.close()


if __name__ == "__main__":
    unittest.main()
