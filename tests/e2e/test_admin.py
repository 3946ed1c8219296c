"""The admin service: load, tenants, drain."""

import concurrent.futures
import os
import signal
import subprocess
import unittest

import grpc

from quire_server import TIMEOUT, Answer, QuireServer, admin_pb2, admin_pb2_grpc, run_to_end
from tenant_files import TENANTS, ConfigFile, api_key, api_keys, as_tenant, with_keys

ADMIN = ("--admin-listen", "127.0.0.1:0")


def run_admin(address, *arguments):
    """(exit code, stdout, stderr) of `quire admin`."""
    done = subprocess.run(
        [os.environ["QUIRE_CLI"], "admin", *arguments, "--server", address],
        capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout, done.stderr


def quire_admin(server, *arguments):
    """What `quire admin` printed, which must have worked."""
    code, out, err = run_admin(server.admin_address, *arguments)
    assert code == 0, err
    return out


class AdminTest(unittest.TestCase):
    def connect(self, server):
        channel = grpc.insecure_channel(server.admin_address, [("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return admin_pb2_grpc.AdminServiceStub(channel)

    def test_the_load_is_what_runs_and_waits(self):
        with QuireServer(*ADMIN, "--max-running", "1", "--kv-memory", "64M", "--pause-grace",
                         "1h") as server:  # who does not read holds the one place
            admin = self.connect(server)

            def load():
                return admin.GetLoad(admin_pb2.GetLoadRequest(), timeout=TIMEOUT)

            idle = load()
            self.assertEqual((idle.running_requests, idle.waiting_requests), (0, 0))
            self.assertEqual(idle.kv_used_bytes, 0)
            self.assertFalse(idle.draining)
            # One after the other: calls that wait for the connection go out in any order.
            calls = [server.generate(max_tokens=1900, ignore_eos=True)]
            Answer(calls[0]).read(at_most=1)
            calls += [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(40)]
            while (busy := load()).waiting_requests < 2:
                pass  # each is a round trip; its deadline ends the test
            self.assertEqual(busy.running_requests, 1)
            self.assertGreater(busy.waiting_tokens, 0)
            self.assertGreater(busy.kv_used_bytes, 0)
            self.assertLess(busy.kv_used_bytes, busy.kv_total_bytes)
            self.assertLessEqual(busy.kv_total_bytes, 64 << 20)
            self.assertRegex(quire_admin(server, "load"), r"waiting +[1-9]\d* requests, \d+ prompt")
            for call in calls:
                call.cancel()

    def test_tenants_are_listed_as_they_are_configured(self):
        with ConfigFile(TENANTS) as file, QuireServer(*ADMIN, "--config", file.path) as server:
            listed = self.connect(server).ListTenants(admin_pb2.ListTenantsRequest(),
                                                      timeout=TIMEOUT)
            self.assertEqual([(t.id, t.config.name, t.configured) for t in listed.tenants],
                             [(0, "default", False), (1, "acme", True), (2, "guest", True)])
            self.assertEqual(listed.tenants[1].config.weight, 2)
            self.assertEqual(listed.tenants[1].config.kv_reserved, str(1 << 20))
            rows = [line.split() for line in quire_admin(server, "tenants").splitlines()]
            self.assertEqual([row[0] for row in rows], ["name", "acme", "guest"])
            self.assertEqual([key.id for key in listed.tenants[1].config.api_keys], ["acme"])
            self.assertEqual(listed.tenants[1].config.api_keys[0].sha256, "")

    def test_only_admins_are_let_in_where_the_file_names_some(self):
        config = {**TENANTS, "admin": {"api_keys": api_keys("ops")}}
        with ConfigFile(config) as file, QuireServer(*ADMIN, "--config", file.path) as server:
            admin = self.connect(server)
            calls = [(admin.GetLoad, admin_pb2.GetLoadRequest()),
                     (admin.ListTenants, admin_pb2.ListTenantsRequest()),
                     (admin.GetTenantUsage, admin_pb2.GetTenantUsageRequest()),
                     (admin.FlushPrefixCache, admin_pb2.FlushPrefixCacheRequest()),
                     (admin.CheckInvariants, admin_pb2.CheckInvariantsRequest()),
                     (admin.PlanCapacity, admin_pb2.PlanCapacityRequest()),
                     (admin.Drain, admin_pb2.DrainRequest())]
            names = [call._method.decode().rpartition("/")[2] for call, _ in calls]
            service = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
            self.assertEqual(sorted(names), sorted(service.methods_by_name))
            for call, request in calls:
                for metadata in ([], as_tenant("acme")):
                    with self.assertRaises(grpc.RpcError) as error:
                        call(request, timeout=TIMEOUT, metadata=metadata)
                    self.assertEqual(error.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
            for call, request in calls[:-1]:
                call(request, timeout=TIMEOUT, metadata=as_tenant("ops"))
            call = server.generate(metadata=as_tenant("ops"))
            self.assertEqual(Answer(call).read().code, grpc.StatusCode.UNAUTHENTICATED,
                             "an admin is no tenant")
            os.environ["QUIRE_API_KEY"] = api_key("ops")
            self.addCleanup(os.environ.pop, "QUIRE_API_KEY")
            self.assertIn("acme", quire_admin(server, "tenants"))

    def test_usage_is_counted_by_tenant(self):
        with ConfigFile(TENANTS) as file, QuireServer(*ADMIN, "--config", file.path) as server:
            call = server.generate(metadata=as_tenant("guest"), max_tokens=5, ignore_eos=True)
            self.assertEqual(len(Answer(call).read().ids), 5)
            usage = self.connect(server).GetTenantUsage(admin_pb2.GetTenantUsageRequest(),
                                                        timeout=TIMEOUT)
            self.assertEqual([(t.id, t.name, t.accepted_requests, t.generated_tokens)
                              for t in usage.tenants],
                             [(0, "default", 0, 0), (1, "acme", 0, 0), (2, "guest", 1, 5)])
            self.assertGreater(usage.tenants[2].prompt_tokens, 0)
            rows = [line.split() for line in quire_admin(server, "usage").splitlines()]
            self.assertEqual([row[0] for row in rows], ["name", "default", "acme", "guest"])

    def test_a_flush_has_prompts_computed_anew(self):
        def found(name):
            call = server.generate("Anna has 3 apples. " * 20, metadata=as_tenant(name),
                                   max_tokens=1)
            return Answer(call).read().usage.cached_tokens

        config = with_keys({"name": "a"}, {"name": "b"})
        with ConfigFile(config) as file, QuireServer(*ADMIN, "--config", file.path) as server:
            admin = self.connect(server)
            self.assertEqual([found(name) for name in "ab"], [0, 0])
            whole = found("a")
            self.assertGreater(whole, 50)
            admin.FlushPrefixCache(admin_pb2.FlushPrefixCacheRequest(tenant="a"), timeout=TIMEOUT)
            self.assertEqual([found(name) for name in "ab"], [0, whole])
            self.assertEqual(quire_admin(server, "flush", "--tenant", "b"), "")
            self.assertEqual([found(name) for name in "ab"], [whole, 0])
            self.assertEqual(quire_admin(server, "flush"), "")
            self.assertEqual([found(name) for name in "ab"], [0, 0])
            quire_admin(server, "flush", "--tenant", "default")  # it has nothing
            self.assertEqual([found(name) for name in "ab"], [whole, whole])
            for name in ["nobody", ""]:
                with self.assertRaises(grpc.RpcError) as error:
                    admin.FlushPrefixCache(admin_pb2.FlushPrefixCacheRequest(tenant=name),
                                           timeout=TIMEOUT)
                self.assertEqual(error.exception.code(), grpc.StatusCode.NOT_FOUND)
                self.assertIn(f'no tenant "{name}"', error.exception.details())
                code, _, err = run_admin(server.admin_address, "flush", "--tenant", name)
                self.assertEqual(code, 1)
                self.assertIn("NOT_FOUND", err)
            self.assertEqual([found(name) for name in "ab"], [whole, whole])

    def test_a_working_server_agrees_with_itself(self):
        with QuireServer(*ADMIN) as server:
            admin = self.connect(server)

            def violations():
                return list(admin.CheckInvariants(admin_pb2.CheckInvariantsRequest(),
                                                  timeout=TIMEOUT).violations)

            self.assertEqual(violations(), [])
            calls = [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(8)]
            for call in calls:
                Answer(call).read(at_most=1)
            self.assertEqual(violations(), [])
            self.assertEqual(quire_admin(server, "invariants"), "no violations\n")
            for call in calls:
                call.cancel()

    def test_violations_are_printed_and_fail_the_command(self):
        class Broken(admin_pb2_grpc.AdminServiceServicer):
            def CheckInvariants(self, request, context):
                return admin_pb2.CheckInvariantsResponse(violations=["one", "two and three"])

        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        admin_pb2_grpc.add_AdminServiceServicer_to_server(Broken(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        code, out, err = run_admin(f"127.0.0.1:{port}", "invariants")
        self.assertEqual((code, out, err), (1, "one\ntwo and three\n", ""))

    def test_a_drain_lets_what_runs_finish_and_ends_the_server(self):
        server = QuireServer(*ADMIN, "--drain-timeout", "100s")
        admin = self.connect(server)
        answers = [Answer(server.generate(max_tokens=1900, ignore_eos=True)) for _ in range(16)]
        for answer in answers:
            answer.read(at_most=1)
        self.assertEqual(quire_admin(server, "drain"), "")
        self.assertTrue(admin.GetLoad(admin_pb2.GetLoadRequest(), timeout=TIMEOUT).draining)
        admin.Drain(admin_pb2.DrainRequest(), timeout=TIMEOUT)  # once more changes nothing
        for answer in answers:
            answer.read()
            self.assertEqual(answer.code, grpc.StatusCode.OK)
            self.assertEqual(len(answer.ids), 1900)
        self.assertEqual(server.wait(), 0)

    def drain_then_signal(self, signals):
        """How streams end that run when the server is drained and then gets that many signals."""
        server = QuireServer(*ADMIN, "--drain-timeout", "100s")
        admin = self.connect(server)
        answers = [Answer(server.generate(max_tokens=1900, ignore_eos=True)) for _ in range(32)]
        for answer in answers:
            answer.read(at_most=1)
        admin.Drain(admin_pb2.DrainRequest(), timeout=TIMEOUT)
        for number in [signal.SIGTERM, signal.SIGINT][:signals]:
            server.signal(number)
        codes = {answer.read().code for answer in answers}
        self.assertEqual(server.wait(), 0)
        return codes

    def test_the_first_signal_after_a_drain_leaves_the_grace_and_the_second_cuts_it(self):
        self.assertEqual(self.drain_then_signal(1), {grpc.StatusCode.OK})
        self.assertIn(grpc.StatusCode.UNAVAILABLE, self.drain_then_signal(2))

    def test_there_is_none_unless_it_is_asked_for_and_none_beyond_loopback(self):
        with QuireServer() as server:
            self.assertIsNone(server.admin_address)
            with self.assertRaises(grpc.RpcError) as error:
                admin_pb2_grpc.AdminServiceStub(server.channel).Drain(admin_pb2.DrainRequest(),
                                                                      timeout=TIMEOUT)
            self.assertEqual(error.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
            code, _, err = run_admin(server.address, "load")
            self.assertEqual(code, 1)
            self.assertIn(f"{server.address} has no admin service", err)
            self.assertIn("--admin-listen", err)
        code, log = run_to_end("--admin-listen", "0.0.0.0:0")
        self.assertEqual(code, 1)
        self.assertIn("--admin-listen: 0.0.0.0:0 can be reached from other machines", log)


if __name__ == "__main__":
    unittest.main()
