"""What a server does that cannot start, and where it says that it has."""

import os
import resource
import socket
import subprocess
import tempfile
import unittest

import grpc

from quire_server import (SERVICE, TIMEOUT, Answer, QuireServer, command, reflection_pb2,
                          reflection_pb2_grpc, run_to_end)


class StartupTest(unittest.TestCase):
    def assert_refuses(self, expected, *flags):
        code, log = run_to_end(*flags)
        self.assertEqual(code, 1, log)
        lines = [line for line in log.splitlines() if line.startswith("quire-server: ") and
                 "loading weights" not in line]  # said where that takes a second
        self.assertEqual(len(lines), 1, log)
        for part in expected:
            self.assertIn(part, lines[0])

    def busy_address(self):
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def test_a_busy_metrics_port_is_one_clear_line(self):
        address = self.busy_address()
        self.assert_refuses(["--metrics-listen", address], "--metrics-listen", address)

    def test_a_busy_port_is_one_clear_line(self):
        address = self.busy_address()
        self.assert_refuses(["--listen", address], "--listen", address)

    def test_a_busy_admin_port_is_one_clear_line(self):
        address = self.busy_address()
        self.assert_refuses(["--admin-listen", address], "--admin-listen", address)

    def test_a_port_file_that_cannot_be_written_ends_the_server(self):
        path = "/no/such/folder/ports"
        self.assert_refuses(["--port-file", path], "--port-file", path, "--admin-listen",
                            "127.0.0.1:0")

    def test_two_servers_do_not_share_a_port(self):
        with QuireServer() as server:
            self.assert_refuses(["--listen", server.address], "--listen", server.address)

    def test_bad_flags_are_named(self):
        for flag, value in [("--threads", "-1"), ("--device", "tpu"), ("--cpu-tier", "sse9"),
                            ("--kv-memory", "big"), ("--listen", "somewhere"),
                            ("--no-such-flag", "1")]:
            self.assert_refuses([flag], flag, value)

    def test_listening_beyond_loopback_needs_a_flag(self):
        self.assert_refuses(["--insecure"], "--listen", "0.0.0.0:0")

    def test_a_missing_model_is_named(self):
        self.assert_refuses(["/no/such/model"], "--model", "/no/such/model")

    def test_a_kv_type_that_there_is_not_is_refused_with_what_to_use(self):
        self.assert_refuses(["no KV cache in fp8_e4m3; use --kv-dtype int8 or auto"],
                            "--device", "cpu", "--kv-dtype", "fp8_e4m3")
        self.assert_refuses(["a KV cache in f32", "computes in bf16", "--kv-dtype auto"],
                            "--device", "cpu", "--dtype", "bf16", "--kv-dtype", "f32")

    @unittest.skipIf(os.path.exists("/dev/nvidiactl"), "this machine has a GPU")
    def test_without_a_gpu_cuda_is_refused_and_auto_takes_the_cpu(self):
        self.assert_refuses(["creating the device", "use --device cpu or auto"],
                            "--device", "cuda")
        with QuireServer("--device", "auto") as server:
            self.assertIn("no GPU is used: ", "".join(server.log))

    def test_the_tier_that_is_asked_for_serves(self):
        with QuireServer("--device", "cpu", "--cpu-tier", "portable") as server:
            server.log_line(lambda line: " on cpu, portable, " in line)
            answer = Answer(server.generate(max_tokens=3, ignore_eos=True)).read()
            self.assertEqual(len(answer.ids), 3)

    def test_too_few_file_descriptors_are_refused(self):
        done = subprocess.run(
            command(), capture_output=True, text=True, timeout=TIMEOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("ulimit", done.stderr)

    def test_the_port_file_says_what_was_bound(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ports")
            with QuireServer("--port-file", path) as server:
                with open(path, encoding="utf-8") as file:
                    ports = dict(line.strip().split("=", 1) for line in file)
                self.assertEqual(ports["listen"], server.address)
                self.assertIn(ports["metrics"], server.metrics_address)

    def described(self, address):
        """The services that reflection lists at an address; None where there is no reflection."""
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            try:
                reply = next(stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT))
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
                return None
        return [service.name for service in reply.list_services_response.service]

    def test_each_listener_describes_itself_on_loopback_alone_unless_told(self):
        here, everywhere = "127.0.0.1:0", "0.0.0.0:0"
        for listen, admin, value, expected in [
                (here, here, "auto", (True, True)), (everywhere, here, "auto", (False, True)),
                (here, everywhere, "auto", (True, False)), (here, here, "off", (False, False)),
                (everywhere, everywhere, "on", (True, True))]:
            with QuireServer("--listen", listen, "--admin-listen", admin, "--reflection", value,
                             "--insecure") as server:
                ports = [address.rsplit(":", 1)[1]
                         for address in (server.address, server.admin_address)]
                found = [self.described(f"127.0.0.1:{port}") for port in ports]
                self.assertEqual(tuple(services is not None for services in found), expected)
                for services, name in zip(found, [SERVICE, "quire.v1.AdminService"]):
                    self.assertIn(name, services or [name])

    def test_metrics_can_be_off(self):
        with QuireServer("--metrics-listen", "off") as server:
            self.assertIsNone(server.metrics_address)

    def test_version_and_help_end_with_zero(self):
        for flag, part in [("--version", "quire-server "), ("--help", "--kv-memory")]:
            done = subprocess.run([os.environ["QUIRE_SERVER"], flag], capture_output=True,
                                  text=True, timeout=TIMEOUT)
            self.assertEqual(done.returncode, 0)
            self.assertIn(part, done.stdout)


if __name__ == "__main__":
    unittest.main()
