"""TLS, client certificates, and whose calls they say they are."""

import contextlib
import os
import subprocess
import time
import unittest

import grpc

from certificates import SERVER_NAME, Authority
from quire_server import (SERVICE, TIMEOUT, Answer, QuireServer, health_pb2, health_pb2_grpc,
                          inference_pb2_grpc, pb, run_to_end)
from tenant_files import ConfigFile, api_key, as_tenant, with_keys

TENANTS = with_keys({"name": "acme"}, {"name": "guest", "max_output_tokens": 8})
TENANTS["tenants"][0]["certificate_names"] = ["spiffe://test/acme"]
TENANTS["tenants"][1]["certificate_names"] = ["dns:guest.test"]
TENANTS["trusted_forwarders"] = {"certificate_names": ["dns:proxy.test"]}


class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = cls.enterClassContext(Authority())
        cls.roots = cls.authority.roots.read_bytes()
        cls.server_files = cls.authority.issue("server", f"DNS:{SERVER_NAME}")
        cls.flags = ["--tls-cert", str(cls.server_files[0]), "--tls-key", str(cls.server_files[1])]
        cls.client_ca = ["--tls-client-ca", str(cls.authority.roots)]

    @contextlib.contextmanager
    def serve(self, config, *flags):
        with ConfigFile(config) as file, QuireServer("--config", file.path, *self.flags,
                                                     *flags) as server:
            yield server

    def stub(self, address, files=None, roots=None):
        """Of a connection of its own that shows the certificate in those files."""
        certificate, key = [path.read_bytes() for path in files] if files else (None, None)
        credentials = grpc.ssl_channel_credentials(roots or self.roots, key, certificate)
        channel = grpc.secure_channel(
            address, credentials, [("grpc.ssl_target_name_override", SERVER_NAME),
                                   ("grpc.use_local_subchannel_pool", 1),
                                   ("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return inference_pb2_grpc.InferenceServiceStub(channel)

    def ask(self, stub, metadata=(), **fields):
        request = pb.GenerateRequest(text="Anna has", **{"max_tokens": 2, **fields})
        return Answer(stub.Generate(request, metadata=metadata, timeout=TIMEOUT)).read()

    def assert_is(self, tenant, answer):
        """Whose call it was shows by guest's limit."""
        limited = answer.code == grpc.StatusCode.INVALID_ARGUMENT
        if not limited:
            self.assertEqual(answer.code, grpc.StatusCode.OK, answer.call.details())
        self.assertEqual("guest" if limited else "acme", tenant)


class IdentityTest(TlsCase):
    def whose(self, stub, metadata=()):
        return self.ask(stub, metadata, max_tokens=9)

    def test_calls_of_one_connection_are_each_whose_key_they_show(self):
        with self.serve(TENANTS) as server:
            stub = self.stub(server.address)
            for tenant in ["acme", "guest", "guest", "acme", "guest"] * 4:
                self.assert_is(tenant, self.whose(stub, as_tenant(tenant)))
                self.assertEqual(self.whose(stub).code, grpc.StatusCode.UNAUTHENTICATED)

    def test_a_certificate_is_a_tenants_and_a_key_goes_before_it(self):
        acme = self.authority.issue("acme", "URI:spiffe://test/acme")
        guest = self.authority.issue("guest", "DNS:guest.test,DNS:other.test")
        both = self.authority.issue("both", "DNS:guest.test,URI:spiffe://test/acme")
        nobody = self.authority.issue("nobody", "DNS:nobody.test")
        with self.serve(TENANTS, *self.client_ca) as server:
            self.assert_is("acme", self.whose(self.stub(server.address, acme)))
            stub = self.stub(server.address, guest)
            self.assert_is("guest", self.whose(stub))
            self.assert_is("acme", self.whose(stub, as_tenant("acme")))
            self.assert_is("guest", self.whose(stub))
            named = [("x-quire-tenant", "acme")]
            self.assert_is("guest", self.whose(stub, named))
            for files in (both, nobody, None):
                answer = self.whose(self.stub(server.address, files), named)
                self.assertEqual(answer.code, grpc.StatusCode.UNAUTHENTICATED)

    def test_a_trusted_forwarder_says_whose_each_call_is(self):
        proxy = self.authority.issue("proxy", "DNS:proxy.test")
        with self.serve(TENANTS, *self.client_ca) as server:
            stub = self.stub(server.address, proxy)
            for tenant in ["acme", "guest", "acme"]:
                self.assert_is(tenant, self.whose(stub, [("x-quire-tenant", tenant)]))
            for metadata in [(), [("x-quire-tenant", "nobody")],
                             [("x-quire-tenant", "acme"), ("x-quire-tenant", "acme")]]:
                self.assertEqual(self.whose(stub, metadata).code,
                                 grpc.StatusCode.UNAUTHENTICATED)

    def test_strangers_do_not_get_in(self):
        with Authority() as other:
            stranger = other.issue("acme", "URI:spiffe://test/acme")
            with self.serve(TENANTS, *self.client_ca) as server:
                answer = self.whose(self.stub(server.address, stranger))
                self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)
                answer = self.whose(self.stub(server.address, roots=other.roots.read_bytes()))
                self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)
                answer = Answer(server.generate()).read()  # without TLS
                self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)
            with self.serve(TENANTS, *self.client_ca, "--tls-require-client-cert") as server:
                answer = self.whose(self.stub(server.address), as_tenant("acme"))
                self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE)


class ListenersTest(TlsCase):
    def test_beyond_loopback_with_tls_and_tenants_no_flag_is_needed(self):
        with self.serve(TENANTS, "--listen", "0.0.0.0:0") as server:
            stub = self.stub(server.address.replace("0.0.0.0", "127.0.0.1"))
            self.assert_is("acme", self.ask(stub, as_tenant("acme"), max_tokens=9))
        for content, flags, expected in [
                (TENANTS, [], "add --tls-cert"),
                ({**TENANTS, "default_tenant": {}}, self.flags, "no default_tenant"),
                (TENANTS, [*self.flags, "--admin-listen", "0.0.0.0:0"], "an admin")]:
            with ConfigFile(content) as file:
                code, log = run_to_end("--config", file.path, "--listen", "0.0.0.0:0", *flags)
            self.assertEqual(code, 1)
            self.assertIn(expected, log)

    def test_files_that_are_unfit_are_named_at_the_start(self):
        certificate, key = map(str, self.server_files)
        other_key = str(self.authority.issue("other", "DNS:other")[1])
        for flags, expected in [
                (["--tls-cert", "/no/such/file", "--tls-key", key], "--tls-cert: /no/such/file: "),
                (["--tls-cert", key, "--tls-key", key], "--tls-cert: "),
                (["--tls-cert", certificate, "--tls-key", other_key], "--tls-key: "),
                (["--tls-cert", certificate, "--tls-key", certificate], "--tls-key: "),
                ([*self.flags, "--tls-client-ca", key], "--tls-client-ca: ")]:
            code, log = run_to_end(*flags)
            self.assertEqual(code, 1)
            self.assertIn(f"quire-server: {expected}", log)
        with QuireServer(*self.flags) as server:
            self.assertIn("--tls-cert: the certificate ends at ", "".join(server.log))

    def test_health_is_answered_without_tls_and_nothing_else_is(self):
        with self.serve(TENANTS, *self.client_ca, "--tls-require-client-cert", "--health-listen",
                        "127.0.0.1:0") as server:
            with grpc.insecure_channel(server.health_address,
                                       [("grpc.enable_http_proxy", 0)]) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for service in ("", SERVICE):
                    reply = stub.Check(health_pb2.HealthCheckRequest(service=service),
                                       timeout=TIMEOUT)
                    self.assertEqual(reply.status, health_pb2.HealthCheckResponse.SERVING)
                with self.assertRaises(grpc.RpcError) as error:
                    inference_pb2_grpc.InferenceServiceStub(channel).ListModels(
                        pb.ListModelsRequest(), timeout=TIMEOUT)
                self.assertEqual(error.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_the_client_speaks_tls(self):
        files = self.authority.issue("client", "DNS:guest.test")
        names = self.authority.issue("local", "DNS:localhost,IP:127.0.0.1")

        def generate(*flags, **environment):
            return subprocess.run(
                [os.environ["QUIRE_CLI"], "generate", "--server", server.address, *flags,
                 "--max-tokens", "4", "Anna has"], capture_output=True, text=True, timeout=TIMEOUT,
                env={**os.environ, **environment})

        flags = ["--tls-cert", str(names[0]), "--tls-key", str(names[1]), *self.client_ca]
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path, *flags) as server:
            trust = ["--tls", "--ca", str(self.authority.roots)]
            done = generate(*trust, "--cert", str(files[0]), "--key", str(files[1]))
            self.assertEqual(done.returncode, 0, done.stderr)
            done = generate(*trust, QUIRE_API_KEY=api_key("acme"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("UNAUTHENTICATED", generate(*trust).stderr)
            self.assertIn("--tls", generate("--deadline", "10").stderr)
            self.assertEqual(generate("--ca", "x").returncode, 2)

    def test_certificates_that_change_are_served_from_then_on(self):
        with Authority() as authority:
            certificate, key = authority.issue("server", f"DNS:{SERVER_NAME}")
            with ConfigFile(TENANTS) as file, QuireServer(
                    "--config", file.path, "--tls-cert", str(certificate), "--tls-key", str(key),
                    "--tls-reload-seconds", "1") as server:
                old = self.stub(server.address, roots=authority.roots.read_bytes())
                self.assertEqual(self.ask(old, as_tenant("acme")).code, grpc.StatusCode.OK)
                stream = old.Generate(pb.GenerateRequest(text="Anna has", max_tokens=1900,
                                                         ignore_eos=True),
                                      metadata=as_tenant("acme"), timeout=TIMEOUT)
                running = Answer(stream).read(at_most=1)
                # Of another authority, whom clients of the first do not know.
                for mine, theirs in zip((certificate, key), self.server_files):
                    mine.write_bytes(theirs.read_bytes())
                give_up = time.monotonic() + TIMEOUT
                while self.ask(self.stub(server.address),
                               as_tenant("acme")).code != grpc.StatusCode.OK:
                    self.assertLess(time.monotonic(), give_up)
                running.read()
                self.assertEqual(len(running.ids), 1900, "connections that are open go on")

    def test_admins_have_certificates(self):
        certificate, key = map(str, self.authority.issue("local", "IP:127.0.0.1"))
        config = {**TENANTS, "admin": {"certificate_names": ["dns:ops.test"]}}
        with ConfigFile(config) as file, QuireServer(
                "--config", file.path, "--tls-cert", certificate, "--tls-key", key,
                *self.client_ca, "--admin-listen", "127.0.0.1:0") as server:
            for names, code in [("DNS:ops.test", 0), ("DNS:guest.test", 1)]:
                files = self.authority.issue("ops", names)
                done = subprocess.run(
                    [os.environ["QUIRE_CLI"], "admin", "usage", "--server", server.admin_address,
                     "--tls", "--ca", str(self.authority.roots), "--cert", str(files[0]), "--key",
                     str(files[1])], capture_output=True, text=True, timeout=TIMEOUT)
                self.assertEqual(done.returncode, code, done.stderr)


if __name__ == "__main__":
    unittest.main()
