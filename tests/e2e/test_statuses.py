"""Every status and every reason in the tables of proto/README.md, as a Python client sees them."""

import json
import os
import pathlib
import re
import shutil
import struct
import tempfile
import time
import unittest
import unittest.mock

import grpc

from certificates import SERVER_NAME, Authority
from quire_server import (MODEL, NARROW, TIMEOUT, Answer, QuireServer, health_pb2, health_pb2_grpc,
                          inference_pb2_grpc, pb)
from status_details import details
from tenant_files import ConfigFile, api_key, api_keys, as_tenant
from web_tokens import TokenIssuer

README = pathlib.Path(__file__).resolve().parents[2] / "proto" / "README.md"
Code = grpc.StatusCode
FOREVER = {"max_tokens": 1900, "ignore_eos": True}


def table_of_reasons():
    """The pairs (code, reason) that the README promises."""
    pairs = set()
    for code, reasons in re.findall(r"^\| `([A-Z_]+)` \| (`[A-Z_]+`.*) \|$",
                                    README.read_text(encoding="utf-8"), re.M):
        pairs.update((code, name) for name in re.findall(r"`([A-Z_]+)`", reasons))
    return pairs


def table_of_codes():
    body = re.search(r"\n## Status codes\n(.*?)\n\n[^|\n]", README.read_text(encoding="utf-8"),
                     re.S).group(1)
    return set(re.findall(r"^\| `([A-Z_]+)` \|", body, re.M))


class StatusesTest(unittest.TestCase):
    codes, reasons = set(), set()

    @classmethod
    def tearDownClass(cls):
        assert cls.codes == table_of_codes(), cls.codes ^ table_of_codes()
        assert cls.reasons == table_of_reasons(), cls.reasons ^ table_of_reasons()

    def saw(self, call, code, why=None):
        """The call has ended so; returns its details, where it is to have a reason."""
        self.assertEqual(call.code(), code, call.details())
        self.codes.add(code.name)
        if why is None:
            return None
        found = details(call)
        self.assertEqual(found["ErrorInfo"].reason, why)
        self.reasons.add((code.name, why))
        return found

    def ask(self, server, tenant=None, metadata=(), stub=None, **fields):
        metadata = as_tenant(tenant) if tenant else metadata
        return Answer(server.generate(stub=stub, metadata=metadata, **fields))

    def test_answers_and_what_is_wrong_with_a_request(self):
        tenant = {"name": "small", "kv_limit": "64K", "max_queued": 2,
                  "api_keys": api_keys("small")}
        with ConfigFile({"tenants": [tenant], "default_tenant": {}}) as file, QuireServer(
                "--config", file.path, "--max-queued", "4", "--max-message-bytes", "64K",
                "--max-running", "4") as server:
            self.saw(self.ask(server, max_tokens=2).read().call, Code.OK)
            found = self.saw(self.ask(server, max_tokens=0).read().call, Code.INVALID_ARGUMENT,
                             "INVALID_FIELD")
            self.assertEqual(found["BadRequest"].field_violations[0].field, "max_tokens")
            self.saw(self.ask(server, text="a b " * 2000).read().call, Code.INVALID_ARGUMENT,
                     "TOO_LONG")
            self.saw(self.ask(server, "small", n=3, max_tokens=1).read().call,
                     Code.INVALID_ARGUMENT, "TOO_MANY_ANSWERS")
            self.saw(self.ask(server, "small", **FOREVER).read().call, Code.INVALID_ARGUMENT,
                     "TENANT_KV_LIMIT")
            self.saw(self.ask(server, model="other").read().call, Code.NOT_FOUND,
                     "MODEL_NOT_FOUND")
            chat = pb.GenerateRequest(chat=pb.ChatPrompt(messages=[
                pb.ChatMessage(role="user", content="Hello")]))
            self.saw(Answer(server.stub.Generate(chat, timeout=TIMEOUT)).read().call,
                     Code.FAILED_PRECONDITION, "NO_CHAT_FORMAT")
            self.saw(self.ask(server, text="x" * (100 << 10)).read().call,
                     Code.RESOURCE_EXHAUSTED)
            # Each bad word takes one away of two allowed ids, so the third place has none.
            first = self.ask(server, allowed_token_ids=[5, 6], bad_word_ids=[
                pb.TokenIds(ids=[5, 5]), pb.TokenIds(ids=[5, 6]), pb.TokenIds(ids=[6, 5]),
                pb.TokenIds(ids=[6, 6])], max_tokens=4).read()
            self.saw(first.call, Code.INVALID_ARGUMENT)
            self.assertIn("no token to draw", first.call.details())
            self.assertEqual(len(first.ids), 1)
            compressed = server.stub.Generate(pb.GenerateRequest(text="a" * 1000), timeout=TIMEOUT,
                                              compression=grpc.Compression.Gzip)
            self.saw(Answer(compressed).read().call, Code.UNIMPLEMENTED)
            running = self.ask(server, **FOREVER).read(at_most=1)
            running.call.cancel()
            self.saw(running.call, Code.CANCELLED)

    def test_queues_and_deadlines(self):
        tenants = [{"name": "narrow", "max_queued": 1, "api_keys": api_keys("narrow")}]
        with ConfigFile({"tenants": tenants, "default_tenant": {}}) as file, QuireServer(
                "--config", file.path, "--max-running", "1", "--max-queued", "8",
                "--pause-grace", "1h", "--write-stall-timeout", "0") as server:
            channel, running = server.hold_place()
            self.addCleanup(channel.close)
            first = self.ask(server, "narrow", **FOREVER)
            server.metrics_when(lambda m: m.value("quire_requests_waiting") == 1)
            found = self.saw(self.ask(server, "narrow", max_tokens=1).read().call,
                             Code.RESOURCE_EXHAUSTED, "TENANT_QUEUE_FULL")
            self.assertEqual(found["QuotaFailure"].violations[0].subject, "tenant")
            self.assertIn("RetryInfo", found)
            rest = [self.ask(server, **FOREVER) for _ in range(7)]
            server.metrics_when(lambda m: m.value("quire_requests_waiting") == 8)
            found = self.saw(self.ask(server, max_tokens=1).read().call, Code.RESOURCE_EXHAUSTED,
                             "QUEUE_FULL")
            self.assertEqual(found["QuotaFailure"].violations[0].subject, "server")
            self.assertIn("RetryInfo", found)
            for answer in [running, first, *rest]:
                answer.call.cancel()
            server.metrics_at_rest()
            late = self.ask(server, timeout=0.02, **FOREVER).read()
            self.saw(late.call, Code.DEADLINE_EXCEEDED)

    def test_a_deadline_that_the_queue_cannot_meet(self):
        # Nobody is paused: the answers are read one after the other, and all are to be computed.
        with QuireServer("--max-running", "1", "--max-queued", "64",
                         "--max-unread-tokens", "0") as server:
            self.ask(server, max_tokens=1).read()  # calls made while it connects lose their order
            answers = [self.ask(server, max_tokens=1200, ignore_eos=True) for _ in range(60)]
            for answer in answers[:10]:  # it has to be seen moving
                answer.read()
            found = self.saw(self.ask(server, max_tokens=1, timeout=1).read().call,
                             Code.RESOURCE_EXHAUSTED, "DEADLINE_UNREACHABLE")
            self.assertIn("QuotaFailure", found)
            for answer in answers:
                answer.call.cancel()

    def test_too_many_streams(self):
        with QuireServer("--max-running", "1", "--max-queued", "1", "--max-unread-tokens", "0",
                         "--write-stall-timeout", "0") as server:
            stuck = []
            for _ in range(3):  # each has ended for the engine, and its client reads nothing
                channel, stub = server.connect(NARROW)
                self.addCleanup(channel.close)
                stuck.append(self.ask(server, stub=stub, logprobs=True, top_logprobs=20,
                                      **FOREVER).read(at_most=1))
                server.metrics_when(lambda m: not m.value("quire_requests_running"))
            found = self.saw(self.ask(server, max_tokens=1).read().call, Code.RESOURCE_EXHAUSTED,
                             "TOO_MANY_STREAMS")
            self.assertIn("RetryInfo", found)
            for answer in stuck:
                self.saw(answer.read().call, Code.RESOURCE_EXHAUSTED)
                self.assertIn("reads too slowly", answer.call.details())

    def test_a_drain(self):
        server = QuireServer("--drain-timeout", "100s")
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(service="quire.v1.InferenceService"), timeout=TIMEOUT)
        next(watch)
        running = [self.ask(server, **FOREVER).read(at_most=1) for _ in range(16)]
        server.signal()
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.saw(self.ask(server, max_tokens=1).read().call, Code.UNAVAILABLE, "DRAINING")
        server.signal()  # cuts the grace
        for answer in running:
            if answer.read().code != Code.OK:
                self.saw(answer.call, Code.UNAVAILABLE, "DRAINING")
        self.assertEqual(server.wait(), 0)

    def test_a_device_that_fails(self):
        gpu = {"QUIRE_SERVER": os.environ["QUIRE_SERVER_ON_EMULATED_GPU"],
               "QUIRE_EMULATED_GPU_LOST_AFTER": "300"}
        with unittest.mock.patch.dict(os.environ, gpu):
            server = QuireServer("--device", "cuda", "--max-context", "256", "--kv-memory", "4M")
        answer = self.ask(server, max_tokens=200, ignore_eos=True).read()
        self.saw(answer.call, Code.UNAVAILABLE, "DEVICE_FAILED")
        self.assertEqual(server.wait(), 1)

    def test_numbers_that_are_not_finite(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = pathlib.Path(folder) / "broken"
            shutil.copytree(MODEL, broken)
            with open(broken / "model.safetensors", "r+b") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                place = json.loads(file.read(size))["model.norm.weight"]["data_offsets"][0]
                file.seek(8 + size + place)
                file.write(b"\xc0\x7f")  # in BF16: not a number
            with QuireServer("--model", str(broken)) as server:
                self.saw(self.ask(server, max_tokens=2).read().call, Code.INTERNAL)

    def test_credentials(self):
        with TokenIssuer() as issuer, Authority() as authority:
            certificate, key = authority.issue("server", f"DNS:{SERVER_NAME}")
            proxy = [path.read_bytes() for path in authority.issue("proxy", "DNS:proxy.test")]
            tenant = {"name": "acme", "api_keys": api_keys("acme")}
            config = {"tenants": [tenant, {"name": "old"}],
                      "tokens": {"key_set_file": str(issuer.key_set), "issuer": "test",
                                 "audience": "quire", "tenant_claim": "tenant"},
                      "trusted_forwarders": {"certificate_names": ["dns:proxy.test"]}}
            with ConfigFile(config) as file, QuireServer(
                    "--config", file.path, "--tls-cert", str(certificate), "--tls-key", str(key),
                    "--tls-client-ca", str(authority.roots)) as server:
                roots = authority.roots.read_bytes()
                anybody, forwarder = [
                    self.secure_stub(server.address,
                                     grpc.ssl_channel_credentials(roots, *credentials))
                    for credentials in [(None, None), (proxy[1], proxy[0])]]
                claims = {"iss": "test", "aud": "quire", "tenant": "acme"}
                good = issuer.sign(exp=int(time.time()) + 600, **claims)
                self.saw(self.ask(server, stub=anybody, max_tokens=1,
                                  metadata=[("authorization", f"Bearer {good}")]).read().call,
                         Code.OK)
                expired = issuer.sign(exp=int(time.time()) - 600, **claims)
                other = issuer.sign(exp=int(time.time()) + 600, **{**claims, "aud": "other"})
                for stub, metadata, why in [
                        (anybody, [], "CREDENTIALS_MISSING"),
                        (anybody, [("authorization", "Basic YTpi")], "CREDENTIALS_UNKNOWN"),
                        (anybody, as_tenant("acme", "acme"), "CREDENTIALS_AMBIGUOUS"),
                        (anybody, [("authorization", f"Bearer {api_key('acme')}x")],
                         "API_KEY_UNKNOWN"),
                        (anybody, [("authorization", f"Bearer {other}")], "TOKEN_INVALID"),
                        (anybody, [("authorization", f"Bearer {expired}")], "TOKEN_EXPIRED"),
                        (forwarder, [], "TENANT_MISSING"),
                        (forwarder, [("x-quire-tenant", "nobody")], "TENANT_UNKNOWN")]:
                    answer = self.ask(server, stub=stub, metadata=metadata).read()
                    self.saw(answer.call, Code.UNAUTHENTICATED, why)
                before = len(server.log)
                file.write({**config, "tenants": [tenant]})
                server.signal(1)
                server.log_line(lambda line: "reloaded" in line, after=before)
                answer = self.ask(server, stub=forwarder,
                                  metadata=[("x-quire-tenant", "old")]).read()
                self.saw(answer.call, Code.UNAUTHENTICATED, "TENANT_REMOVED")

    def secure_stub(self, address, credentials):
        channel = grpc.secure_channel(
            address, credentials, [("grpc.ssl_target_name_override", SERVER_NAME),
                                   ("grpc.use_local_subchannel_pool", 1),
                                   ("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return inference_pb2_grpc.InferenceServiceStub(channel)


if __name__ == "__main__":
    unittest.main()
