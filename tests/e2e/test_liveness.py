"""Health of "liveness": what turns it, and what does not."""

import ctypes
import os
import resource
import unittest

from certificates import SERVER_NAME, Authority
from quire_server import (SERVICE, TIMEOUT, Answer, QuireServer, grpc, health_pb2,
                          health_pb2_grpc)
from tenant_files import ConfigFile, as_tenant, with_keys

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# Far too short for anything that is not stuck, but long for what is asked of the server here.
WATCH = ["--watchdog-timeout", "30s", "--self-probe-interval", "50ms"]


def health_at(address, service):
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT).status


class QuietTest(unittest.TestCase):
    """Liveness stays as it is, whatever a server that works is given to do."""

    def assert_quiet(self, server):
        log = "".join(server.log)
        for word in ["liveness", "stuck", "andshake", "probe", "left out"]:
            self.assertNotIn(word, log)

    def test_idle_under_load_and_while_it_drains(self):
        server = QuireServer(*WATCH, "--drain-timeout", "100s", "--health-listen", "127.0.0.1:0",
                             "--admin-listen", "127.0.0.1:0")
        addresses = [server.address, server.health_address, server.admin_address]
        for address in addresses:
            self.assertEqual(health_at(address, "liveness"), SERVING)
        answers = [Answer(server.generate(max_tokens=1900, ignore_eos=True)) for _ in range(16)]
        for answer in answers:
            answer.read(at_most=1)
        for address in addresses:
            self.assertEqual(health_at(address, "liveness"), SERVING)
        server.signal()
        while server.health(SERVICE) != NOT_SERVING:
            pass  # each check is a round trip; its deadline ends the test
        self.assertEqual(server.metrics().value("quire_live"), 1)
        for address in addresses:
            self.assertEqual(health_at(address, "liveness"), SERVING)
        for answer in answers:
            self.assertEqual(len(answer.read().ids), 1900)
        self.assertEqual(server.wait(), 0)
        self.assert_quiet(server)

    def test_waiting_for_a_tenants_rate_is_no_trouble(self):
        tenants = with_keys({"name": "slow", "tokens_per_second": 2, "burst_tokens": 1})
        with ConfigFile(tenants) as file, QuireServer(
                "--config", file.path, "--watchdog-timeout", "1s") as server:
            for _ in range(2):  # the second one waits for longer than the watchdog would
                answer = Answer(server.generate("Anna has 3 apples.", max_tokens=2, ignore_eos=True,
                                                metadata=as_tenant("slow"))).read()
                self.assertEqual(answer.code, grpc.StatusCode.OK)
            self.assertGreater(answer.messages[-1].timings.queue_seconds, 2)
            self.assert_quiet(server)

    def test_probes_are_quiet_and_succeed(self):
        """Over plaintext, over TLS, and where clients have to show a certificate."""
        with Authority() as authority:
            certificate, key = authority.issue("server", f"DNS:{SERVER_NAME}")
            tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
            mutual = [*tls, "--tls-client-ca", str(authority.roots), "--tls-require-client-cert"]
            for flags in [[], tls, mutual]:
                with self.subTest(flags=flags), QuireServer(
                        "--self-probe-interval", "5ms", *flags, "--log-format", "json") as server:
                    def answered(metrics):
                        return metrics.value("quire_self_probes_total", result="answered")

                    files = server.metrics_when(lambda m: answered(m) > 5)
                    metrics = server.metrics_when(lambda m: answered(m) > 50)
                    self.assertEqual(metrics.value("quire_self_probes_total", result="failed"), 0)
                    # Some are closed by one side and not yet by the other.
                    self.assertLess(metrics.value("process_open_fds"),
                                    files.value("process_open_fds") + 20)
                    self.assert_quiet(server)


class HeldThread:
    """A thread of another process that stands still, as under a debugger, while all else runs."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    ALL = 0x40000000  # __WALL

    def __init__(self, tid):
        self.tid = tid
        self._ptrace(self.SEIZE)
        self._ptrace(self.INTERRUPT)
        os.waitpid(tid, self.ALL)

    def release(self):
        self._ptrace(self.DETACH)

    def await_death(self):
        while os.WIFSTOPPED(os.waitpid(self.tid, self.ALL)[1]):
            pass

    def _ptrace(self, request):
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = [ctypes.c_long] * 4
        if ptrace(request, self.tid, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")


class StuckTest(unittest.TestCase):
    """The engine's thread stands still, and there is work for it."""

    FLAGS = ["--threads", "1", "--watchdog-timeout", "2s"]

    def hang(self, server):
        """Holds the engine's thread."""
        def name_of(tid):
            with open(f"/proc/{server.process.pid}/task/{tid}/comm", encoding="ascii") as name:
                return name.read().strip()

        threads = [int(tid) for tid in os.listdir(f"/proc/{server.process.pid}/task")]
        [engine] = [tid for tid in threads if name_of(tid) == "quire-engine"]
        try:
            return HeldThread(engine)
        except PermissionError:
            server.stop()
            self.skipTest("ptrace is not allowed here")

    def begin(self, server):
        """A call that has arrived."""
        answer = Answer(server.generate(max_tokens=20, ignore_eos=True))
        server.metrics_when(lambda metrics: metrics.value("quire_streams_open") == 1)
        return answer

    def test_liveness_alone_turns_and_turns_back_when_it_goes_on(self):
        with QuireServer(*self.FLAGS, "--liveness-exit-after", "0", "--health-listen",
                         "127.0.0.1:0") as server:
            thread = self.hang(server)
            answer = self.begin(server)
            line = server.log_line(lambda line: "liveness is NOT_SERVING" in line)
            self.assertRegex(line, r"the engine is stuck live_requests=1 seconds_since_step=2\.\d")
            for address in [server.address, server.health_address]:
                self.assertEqual(health_at(address, "liveness"), NOT_SERVING)
                self.assertEqual(health_at(address, SERVICE), SERVING)
                self.assertEqual(health_at(address, ""), SERVING)
            metrics = server.metrics()
            self.assertEqual(metrics.value("quire_live"), 0)
            self.assertGreaterEqual(metrics.value("quire_engine_stalled_seconds"), 2)
            thread.release()
            server.log_line(lambda line: "liveness is SERVING again" in line)
            self.assertEqual(health_at(server.health_address, "liveness"), SERVING)
            self.assertEqual(len(answer.read().ids), 20)

    def test_the_process_ends_when_it_does_not_go_on_even_while_it_drains(self):
        for drains in [False, True]:
            with self.subTest(drains=drains):
                server = QuireServer(*self.FLAGS, "--liveness-exit-after", "3s",
                                     "--drain-timeout", "0")
                thread = self.hang(server)
                self.begin(server)
                server.log_line(lambda line: "liveness is NOT_SERVING" in line)
                if drains:
                    server.signal()
                thread.await_death()
                self.assertEqual(server.wait(), 1)
                self.assertEqual("quire-server: draining\n" in server.log, drains)
                self.assertIn("ending for a restart", server.log[-1])


class DeafTest(unittest.TestCase):
    """A server that no new connection gets to."""

    def check_end(self, server, error):
        line = server.log_line(lambda line: "NOT_SERVING" in line)
        self.assertIn("no new connections are taken", line)
        self.assertIn(f'address="{server.address}" failed_probes=3 last_error="{error}', line)
        self.assertEqual(server.health("liveness"), NOT_SERVING)
        self.assertEqual(server.health(SERVICE), SERVING)
        self.assertEqual(server.wait(), 1)
        self.assertIn("quire-server: ending for a restart, as liveness did not come back "
                      "seconds=2.0\n", server.log)

    def test_no_file_for_the_probe_itself_is_a_failure(self):
        server = QuireServer("--self-probe-interval", "1s", "--liveness-exit-after", "2s")
        self.assertEqual(server.health(""), SERVING)
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, hard))
        self.check_end(server, "socket: Too many open files")


if __name__ == "__main__":
    unittest.main()
