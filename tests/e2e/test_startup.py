"""What a server does that cannot start, and where it says that it has."""

import os
import resource
import socket
import subprocess
import tempfile
import unittest

from quire_server import TIMEOUT, QuireServer, command, run_to_end


class StartupTest(unittest.TestCase):
    def assert_refuses(self, expected, *flags):
        code, log = run_to_end(*flags)
        self.assertEqual(code, 1, log)
        lines = [line for line in log.splitlines() if line.startswith("quire-server: ")]
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

    def test_two_servers_do_not_share_a_port(self):
        with QuireServer() as server:
            self.assert_refuses(["--listen", server.address], "--listen", server.address)

    def test_bad_flags_are_named(self):
        for flag, value in [("--threads", "-1"), ("--device", "tpu"), ("--kv-memory", "big"),
                            ("--listen", "somewhere"), ("--no-such-flag", "1")]:
            self.assert_refuses([flag], flag, value)

    def test_listening_beyond_loopback_needs_a_flag(self):
        self.assert_refuses(["--insecure"], "--listen", "0.0.0.0:0")

    def test_a_missing_model_is_named(self):
        self.assert_refuses(["/no/such/model"], "--model", "/no/such/model")

    def test_a_kv_type_that_there_is_not_is_refused_with_what_to_use(self):
        self.assert_refuses(["an fp8 KV cache needs a GPU; use --kv-dtype auto"],
                            "--device", "cpu", "--kv-dtype", "fp8_e4m3")
        self.assert_refuses(["a KV cache in f32", "computes in bf16", "--kv-dtype auto"],
                            "--device", "cpu", "--dtype", "bf16", "--kv-dtype", "f32")

    @unittest.skipIf(os.path.exists("/dev/nvidiactl"), "this machine has a GPU")
    def test_without_a_gpu_cuda_is_refused_and_auto_takes_the_cpu(self):
        self.assert_refuses(["creating the device", "use --device cpu or auto"],
                            "--device", "cuda")
        with QuireServer("--device", "auto") as server:
            self.assertIn("no GPU is used: ", "".join(server.log))

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
