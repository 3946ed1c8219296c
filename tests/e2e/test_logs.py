"""The log: what it says of calls, and what it never says."""

import base64
import json
import subprocess
import tempfile
import time
import unittest

import grpc

from quire_server import SERVICE, TIMEOUT, Answer, QuireServer, pb
from tenant_files import ConfigFile, as_tenant, secret_of, with_keys
from test_chat import chat_model

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenIssuer:
    """Signs tokens with a key of its own, which the file `key_set` describes."""

    def __init__(self, folder):
        self.key = f"{folder}/issuer.key"
        self.key_set = f"{folder}/keys.json"
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
                      self.key)
        modulus = self._openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip()
        n = bytes.fromhex(modulus.removeprefix("Modulus="))
        key = {"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig", "n": base64url(n),
               "e": "AQAB"}
        with open(self.key_set, "w", encoding="ascii") as file:
            json.dump({"keys": [key]}, file)

    def token(self, **claims):
        claims = {"iss": "issuer", "aud": "quire", "exp": int(time.time()) + 600, **claims}
        parts = [{"alg": "RS256", "kid": "k1", "typ": "JWT"}, claims]
        signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        signature = self._openssl("dgst", "-sha256", "-sign", self.key, stdin=signed.encode())
        return f"{signed}.{base64url(signature)}"

    @staticmethod
    def _openssl(*arguments, stdin=b""):
        return subprocess.run(["openssl", *arguments], input=stdin, check=True,
                              capture_output=True).stdout


def json_lines(server):
    return [json.loads(line) for line in server.log]


def of_calls(lines):
    return [line for line in lines if line["msg"] == "request ended"]


def await_calls(server, count):
    """The lines of calls, once there are so many."""
    server.log_when(lambda log: sum("request ended" in line for line in log) >= count)
    return of_calls(json_lines(server))


class RequestLinesTest(unittest.TestCase):
    JSON = ["--log-format", "json", "--log-requests"]

    def test_a_call_that_ended_well(self):
        with ConfigFile(with_keys({"name": "acme"})) as file, QuireServer(
                "--config", file.path, *self.JSON, "all") as server:
            answer = Answer(server.generate(max_tokens=5, ignore_eos=True, request_id='a "b" \\ c',
                                            metadata=[*as_tenant("acme"), TRACEPARENT])).read()
            [line] = await_calls(server, 1)
        self.assertEqual(answer.code, grpc.StatusCode.OK)
        self.assertRegex(line.pop("ts"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        times = [line.pop(name) for name in ["queue_ms", "ttft_ms", "total_ms"]]
        self.assertEqual(times, sorted(times))
        self.assertEqual(line, {
            "level": "info", "msg": "request ended", "service": SERVICE, "request_id": 'a "b" \\ c',
            "tenant": "acme", "key_id": "acme", "trace_id": TRACE_ID, "code": "OK",
            "prompt_tokens": answer.usage.prompt_tokens, "cached_tokens": 0,
            "generated_tokens": 5})

    def test_errors_are_logged_by_default_and_nothing_with_off(self):
        for flags, expected in [([], ["INVALID_ARGUMENT", "CANCELLED"]),
                                (["--log-requests", "off"], [])]:
            with QuireServer("--log-format", "json", *flags) as server:
                Answer(server.generate(max_tokens=2)).read()
                Answer(server.generate(max_tokens=0)).read()
                call = server.generate(max_tokens=1900, ignore_eos=True)
                Answer(call).read(at_most=1)
                call.cancel()
                server.metrics_at_rest()
            lines = of_calls(json_lines(server))
            self.assertEqual([line["code"] for line in lines], expected)
        self.assertNotIn("prompt_tokens", lines[0] if lines else {})

    def test_what_is_known_of_calls_that_did_not_end_well(self):
        with QuireServer(*self.JSON, "errors") as server:
            Answer(server.generate(temperature=-1, request_id="invalid")).read()
            call = server.generate(max_tokens=1900, ignore_eos=True, request_id="cancelled")
            read = len(Answer(call).read(at_most=3).ids)
            call.cancel()
            invalid, cancelled = await_calls(server, 2)
        self.assertEqual((invalid["request_id"], invalid["code"], invalid["reason"]),
                         ("invalid", "INVALID_ARGUMENT", "INVALID_FIELD"))
        self.assertNotIn("generated_tokens", invalid)
        self.assertEqual((cancelled["request_id"], cancelled["code"]), ("cancelled", "CANCELLED"))
        self.assertGreaterEqual(cancelled["generated_tokens"], read)
        self.assertGreater(cancelled["prompt_tokens"], 0)

    def test_who_may_not_call_is_a_warning_with_the_address(self):
        with ConfigFile(with_keys({"name": "acme"})) as file, QuireServer(
                "--config", file.path, "--log-format", "json") as server:
            wrong = [("authorization", "Bearer acme." + "0" * 64), TRACEPARENT]
            Answer(server.generate(metadata=wrong)).read()
            with self.assertRaises(grpc.RpcError):
                server.stub.Tokenize(pb.TokenizeRequest(text="a"), timeout=TIMEOUT)
            server.log_when(lambda log: sum("authenticated" in line for line in log) == 2)
        lines = [line for line in json_lines(server) if "authenticated" in line["msg"]]
        for line in lines:
            self.assertEqual((line["level"], line["code"]), ("warning", "UNAUTHENTICATED"))
            self.assertRegex(line["peer"], r"^ipv4:127\.0\.0\.1:\d+$")
        self.assertEqual([line["reason"] for line in lines],
                         ["API_KEY_UNKNOWN", "CREDENTIALS_MISSING"])
        self.assertEqual([line.get("trace_id") for line in lines], [TRACE_ID, None])
        self.assertEqual(of_calls(json_lines(server)), [], "one line is enough")

    def test_calls_of_other_protocols_have_lines_too(self):
        def field(number, text):
            return bytes([number << 3 | 2, len(text)]) + text

        raw = {"request_serializer": bytes, "response_deserializer": bytes}
        vllm, triton = "vllm.grpc.engine.VllmEngine", "inference.GRPCInferenceService"
        with QuireServer(*self.JSON, "all") as server:
            generate = server.channel.unary_stream(f"/{vllm}/Generate", **raw)
            infer = server.channel.unary_unary(f"/{triton}/ModelInfer", **raw)
            request_id, text = field(1, b"theirs"), field(3, b"Anna has 3 apples.")
            list(generate(request_id + text, timeout=TIMEOUT))
            with self.assertRaises(grpc.RpcError):
                list(generate(request_id, timeout=TIMEOUT))
            with self.assertRaises(grpc.RpcError):
                infer(b"", timeout=TIMEOUT)
            lines = await_calls(server, 3)
        # A line may come after its call's status, and after the next call's line.
        self.assertCountEqual([(line["service"], line.get("request_id"), line["code"])
                               for line in lines],
                              [(vllm, "theirs", "OK"), (vllm, "theirs", "INVALID_ARGUMENT"),
                               (triton, None, "INVALID_ARGUMENT")])

    def test_text_lines_quote_what_the_client_wrote(self):
        with QuireServer("--log-requests", "all") as server:
            Answer(server.generate(max_tokens=1, request_id='x" code="y')).read()
            line = server.log_line(lambda line: "request ended" in line)
        self.assertTrue(line.startswith(f'quire-server: request ended service="{SERVICE}" '
                                        'request_id="x\\" code=\\"y" tenant="default" code="OK" '),
                        line)

    def test_a_flood_is_cut_and_counted(self):
        with QuireServer(*self.JSON, "errors", "--log-rate", "2") as server:
            for _ in range(300):
                Answer(server.generate(max_tokens=0)).read()
            server.metrics_at_rest()
        lines = json_lines(server)
        left_out = sum(line.get("left_out", 0) for line in lines)
        self.assertEqual(len(of_calls(lines)) + left_out, 300)
        self.assertGreater(left_out, 0)


class Canaries:
    """Unique words, by where they were put."""

    def __init__(self):
        self.planted = {}

    def __call__(self, place):
        return self.planted.setdefault(place, f"canary{len(self.planted)}zq{place}")


class CanaryTest(unittest.TestCase):
    """Nothing that a client says is in the log, in the metrics or in what others are told."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.issuer = TokenIssuer(cls.folder)
        cls.config = with_keys({"name": "acme"}, {"name": "other", "max_output_tokens": 1})
        cls.config["tokens"] = {"key_set_file": cls.issuer.key_set, "issuer": "issuer",
                                "audience": "quire"}

    def plant(self, server, canary):
        """Calls of every kind, each with words of its own. Returns the texts that were answered."""
        acme = [*as_tenant("acme"), ("x-note", canary("metadata")), TRACEPARENT]
        said = []

        def call(metadata, **fields):
            answer = Answer(server.generate(metadata=metadata, **fields)).read()
            said.append(answer.text)
            return answer

        good = call(acme, text=canary("prompt"), stop=[canary("stop")], cache_salt=canary("salt"),
                    max_tokens=30, ignore_eos=True, echo=True, request_id="good")
        self.assertEqual(good.code, grpc.StatusCode.OK)
        chat = pb.ChatPrompt(messages=[
            pb.ChatMessage(role="system", content=canary("system")),
            pb.ChatMessage(role="user", content=canary("user"))])
        request = pb.GenerateRequest(chat=chat, max_tokens=20, request_id="chat")
        chatted = Answer(server.stub.Generate(request, metadata=acme, timeout=TIMEOUT)).read()
        self.assertEqual(chatted.code, grpc.StatusCode.OK, chatted.call.details())
        said.append(chatted.text)

        refused = call(acme, text=canary("refused"), bad_words=[canary("bad_word") * 200])
        self.assertEqual(refused.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(call(acme, model=canary("model")).code, grpc.StatusCode.NOT_FOUND)
        unprintable = call(acme, request_id=canary("request_id") + "\n")
        self.assertEqual(unprintable.code, grpc.StatusCode.INVALID_ARGUMENT)

        cancelled = server.generate(metadata=acme, text=canary("cancelled"), max_tokens=1900,
                                    ignore_eos=True, request_id="cancelled")
        Answer(cancelled).read(at_most=1)
        cancelled.cancel()

        self.plant_credentials(call, canary)
        for text in [canary("tokenized"), ""]:
            server.stub.Tokenize(pb.TokenizeRequest(text=text), metadata=acme, timeout=TIMEOUT)
        self.plant_malformed(server, acme, canary)
        return said

    def plant_credentials(self, call, canary):
        token = self.issuer.token(sub="acme", note=canary("claim"))
        canary.planted["token"] = token.split(".")[2]
        canary.planted["claims"] = token.split(".")[1]
        self.assertEqual(call([("authorization", f"Bearer {token}")], max_tokens=1).code,
                         grpc.StatusCode.OK)
        expired = self.issuer.token(sub="acme", exp=1)
        canary.planted["expired"] = expired.split(".")[1]
        canary.planted["secret"] = secret_of("acme")
        nobody = self.issuer.token(sub=canary("tenant"))
        for bearer in [expired, nobody, canary("key"), "acme." + canary("wrong"),
                       canary("head") + ".b.c"]:
            refused = call([("authorization", f"Bearer {bearer}")])
            self.assertEqual(refused.code, grpc.StatusCode.UNAUTHENTICATED)
        refused = call([("authorization", canary("scheme"))])
        self.assertEqual(refused.code, grpc.StatusCode.UNAUTHENTICATED)
        refused = call([("traceparent", canary("traceparent"))])
        self.assertEqual(refused.code, grpc.StatusCode.UNAUTHENTICATED)

    def plant_malformed(self, server, metadata, canary):
        """Text that is no UTF-8, of which Protocol Buffers has something to say."""
        generate = server.channel.unary_stream(f"/{SERVICE}/Generate", request_serializer=lambda b: b)
        text = canary("malformed").encode() + b"\xff"
        number = pb.GenerateRequest.DESCRIPTOR.fields_by_name["text"].number
        tag = bytes([number << 3 | 2])
        with self.assertRaises(grpc.RpcError):
            list(generate(tag + bytes([len(text)]) + text, metadata=metadata, timeout=TIMEOUT))

    def assert_nowhere(self, canary, text, where):
        for place, word in canary.planted.items():
            self.assertNotIn(word, text, f"{place} is in {where}")

    def test_no_canary_is_found(self):
        canary = Canaries()
        with ConfigFile(self.config) as file, QuireServer(
                "--model", chat_model(self.folder), "--config", file.path, "--log-format", "json",
                "--log-requests", "all", "--log-rate", "1000") as server:
            said = self.plant(server, canary)
            server.metrics_at_rest()
            self.assert_nowhere(canary, server.metrics_text(), "/metrics")
            for fields in [{"max_tokens": 9}, {"model": "x"}, {"temperature": -1}]:
                refused = Answer(server.generate(metadata=as_tenant("other"), **fields)).read()
                self.assertNotEqual(refused.code, grpc.StatusCode.OK)
                told = refused.call.details() + str(refused.call.trailing_metadata())
                self.assert_nowhere(canary, told, "what another caller was told")
        log = "".join(server.log)
        self.assert_nowhere(canary, log, "the log")
        for text in said:
            self.assertFalse(len(text) > 8 and text in log, f"an answer is in the log: {text}")
        self.check_lines(json_lines(server))

    def check_lines(self, lines):
        by_id = {line.get("request_id"): line for line in of_calls(lines)}
        for name, code in [("good", "OK"), ("chat", "OK"), ("cancelled", "CANCELLED")]:
            line = by_id[name]
            self.assertEqual((line["code"], line["tenant"], line["key_id"], line["trace_id"]),
                             (code, "acme", "acme", TRACE_ID))
        warnings = [line for line in lines if "authenticated" in line["msg"]]
        self.assertEqual(len(warnings), 7)
        for line in warnings:
            self.assertNotIn("trace_id", line)
        libraries = [line for line in lines if line.get("library") == "protobuf"]
        self.assertGreater(len(libraries), 0, "Protocol Buffers said nothing")


if __name__ == "__main__":
    unittest.main()
