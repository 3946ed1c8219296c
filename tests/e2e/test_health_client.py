"""grpc.health.v1 with the stubs of the package grpcio-health-checking."""

import sys
import unittest

import grpc
import grpc_health.v1.health_pb2 as health
from grpc_health.v1 import health_pb2_grpc

# The same messages as stubs of our own making would be registered twice.
sys.modules["health_pb2"], sys.modules["health_pb2_grpc"] = health, health_pb2_grpc

from certificates import SERVER_NAME, Authority  # noqa: E402
from quire_server import TIMEOUT, QuireServer  # noqa: E402
from tenant_files import ConfigFile, with_keys  # noqa: E402

SERVING = health.HealthCheckResponse.SERVING
NOT_SERVING = health.HealthCheckResponse.NOT_SERVING
SERVICES = ["quire.v1.InferenceService", "inference.GRPCInferenceService",
            "vllm.grpc.engine.VllmEngine"]


class HealthClientTest(unittest.TestCase):
    def setUp(self):
        authority = self.enterContext(Authority())
        tenants = self.enterContext(ConfigFile(with_keys({"name": "acme"})))
        certificate, key = authority.issue("server", f"DNS:{SERVER_NAME},IP:127.0.0.1")
        self.server = self.enterContext(
            QuireServer("--config", tenants.path, "--tls-cert", str(certificate), "--tls-key",
                        str(key), "--health-listen", "127.0.0.1:0"))
        secure = grpc.secure_channel(
            self.server.address, grpc.ssl_channel_credentials(authority.roots.read_bytes()))
        plain = grpc.insecure_channel(self.server.health_address)
        for channel in (secure, plain):
            self.addCleanup(channel.close)
        self.stubs = [health_pb2_grpc.HealthStub(channel) for channel in (secure, plain)]

    def check(self, stub, service):
        return stub.Check(health.HealthCheckRequest(service=service), timeout=TIMEOUT).status

    def test_checks_need_no_credentials(self):
        for stub in self.stubs:
            for service in ["", *SERVICES]:
                self.assertEqual(self.check(stub, service), SERVING)
            with self.assertRaises(grpc.RpcError) as raised:
                self.check(stub, "other")
            self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_watchers_see_a_drain(self):
        watches = [stub.Watch(health.HealthCheckRequest(service=service), timeout=TIMEOUT)
                   for stub in self.stubs for service in SERVICES]
        for watch in watches:
            self.assertEqual(next(watch).status, SERVING)
        self.server.signal()
        for watch in watches:
            self.assertEqual(next(watch).status, NOT_SERVING)


if __name__ == "__main__":
    unittest.main()
