"""Tenants: the config file, whose a call is, limits, reloading."""

import json
import os
import signal
import subprocess
import unittest

import grpc

from quire_server import TIMEOUT, Answer, QuireServer, pb, run_to_end
from status_details import details, reason
from tenant_files import TENANTS, ConfigFile, api_key, as_tenant, with_keys


def ask(server, *names, **fields):
    """The answer to a call that shows the keys of those names."""
    fields = {"max_tokens": 4, "ignore_eos": True, **fields}
    return Answer(server.generate(metadata=as_tenant(*names), **fields))


class CheckConfigTest(unittest.TestCase):
    def check(self, content, *flags):
        with ConfigFile(content) as file:
            done = subprocess.run(
                [os.environ["QUIRE_SERVER"], "--check-config", "--config", file.path, *flags],
                capture_output=True, text=True, timeout=TIMEOUT)
        return done.returncode, done.stdout, done.stderr

    def test_a_good_file_is_printed_with_what_is_limited(self):
        code, out, err = self.check(TENANTS)
        self.assertEqual((code, err), (0, ""))
        rows = [line.split() for line in out.splitlines()]
        self.assertEqual(rows[0], ["name", "weight", "kv_reserved", "kv_limit",
                                   "max_context_tokens", "max_output_tokens", "api_keys"])
        self.assertIn(["acme", "2", "1048576", "1073741824", "-", "-", "1"], rows)
        self.assertIn(["guest", "1", "-", "-", "64", "8", "1"], rows)
        self.assertNotIn("default", out)
        self.assertNotIn(api_key("acme"), out)

    def test_without_tenants_there_is_the_default_tenant(self):
        code, out, _ = self.check({"default_tenant": {"max_running": 3}})
        self.assertEqual(code, 0)
        self.assertIn(["default", "1", "3"], [line.split() for line in out.splitlines()])

    def test_what_is_wrong_is_one_line_that_names_the_file_and_the_place(self):
        def one(**fields):
            return with_keys({"name": "a", **fields})

        cases = [
            ("{", "not a config file: line 1: "),
            (one(weigth=1), "tenants[0]) weigth: Cannot find field"),
            (one(kv_limit="lots"), "tenants[0]: kv_limit: 'lots' is not a number of bytes"),
            (one(kv_reserved="2M", kv_limit="1M"), "kv_reserved 2097152 is more than kv_limit"),
            (one(weight=0), "weight 0"),
            (one(name=""), "1 to 64 printable ASCII characters"),
            ({**TENANTS, "tenants": TENANTS["tenants"] * 2}, "'acme' is taken"),
            ({"tenants": [{"name": "a"}]}, "no call could be theirs: give them api_keys"),
            ({**TENANTS, "tenant_metadata_key": "x-quire-tenant"}, "tenant_metadata_key: Cannot"),
            ({**TENANTS, "default_tenant": {"prefix_cache_floor": "8G"}}, "raise --kv-memory"),
        ]
        for content, expected in cases:
            code, out, err = self.check(content, "--kv-memory", "4G")
            self.assertEqual((code, out), (1, ""), content)
            self.assertEqual(len(err.splitlines()), 1, err)
            self.assertIn("quire-server: --config: ", err)
            self.assertIn(expected, err)

    def test_a_floor_of_the_prefix_cache_counts_where_there_is_one(self):
        content = {**TENANTS, "default_tenant": {"prefix_cache_floor": "2G"}}
        flags = ["--kv-memory", "1G"]
        self.assertEqual(self.check(content, *flags)[0], 1)
        self.assertEqual(self.check(content, *flags, "--no-prefix-cache")[0], 0)
        with ConfigFile(content) as file, QuireServer(
                "--config", file.path, "--kv-memory", "64M", "--no-prefix-cache") as server:
            self.assertEqual(ask(server, "acme").read().code, grpc.StatusCode.OK)

    def test_flags_are_checked_too(self):
        for flag, value in [("--max-running", "0"), ("--priority-ageing", "48h")]:
            code, _, err = self.check(TENANTS, flag, value)
            self.assertEqual(code, 1)
            self.assertIn(flag, err)

    def test_beyond_loopback_there_is_encryption_or_a_flag(self):
        code, _, err = self.check(TENANTS, "--listen", "0.0.0.0:0")
        self.assertEqual(code, 1)
        self.assertIn("--insecure", err)
        code, _, _ = self.check(TENANTS, "--listen", "0.0.0.0:0", "--insecure")
        self.assertEqual(code, 0)

    def test_a_server_does_not_start_with_a_file_that_is_wrong(self):
        for content, expected in [("[]", "--config: "), ({**TENANTS, "default_tenant": {
                "kv_reserved": "1T"}}, "--config: kv_reserved and prefix_cache_floor")]:
            with ConfigFile(content) as file:
                code, log = run_to_end("--config", file.path)
            self.assertEqual(code, 1)
            self.assertIn(expected, log)


class TenantsTest(unittest.TestCase):
    def test_whoever_is_not_listed_is_refused_with_a_reason_for_programs(self):
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            self.assertEqual(ask(server, "acme").read().code, grpc.StatusCode.OK)
            for names, expected in [([], "CREDENTIALS_MISSING"), (["nobody"], "API_KEY_UNKNOWN"),
                                  (["acme", "acme"], "CREDENTIALS_AMBIGUOUS")]:
                answer = ask(server, *names).read()
                self.assertEqual(answer.code, grpc.StatusCode.UNAUTHENTICATED)
                self.assertEqual(answer.messages, [])
                self.assertEqual(list(details(answer.call)), ["ErrorInfo"])
                self.assertEqual(reason(answer.call), expected)
            self.assertEqual(
                server.metrics().value("quire_admission_rejections_total",
                                       reason="unauthenticated"), 3)

    def test_a_default_tenant_takes_whoever_shows_nothing(self):
        config = {**TENANTS, "default_tenant": {"max_output_tokens": 2}}
        with ConfigFile(config) as file, QuireServer("--config", file.path) as server:
            answer = ask(server).read()
            self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn("from 1 to 2 for this tenant", answer.call.details())
            self.assertEqual(ask(server, "nobody").read().code, grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(ask(server, "acme").read().code, grpc.StatusCode.OK)

    def test_a_tenants_limits_hold_for_its_requests_alone(self):
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            self.assertEqual(len(ask(server, "acme", max_tokens=100).read().ids), 100)
            for fields, expected in [
                    ({"max_tokens": 9}, "max_tokens is 9; it must be from 1 to 8 for this tenant"),
                    ({"text": "word " * 80}, "this tenant's context of 64 leaves no room")]:
                answer = ask(server, "guest", **fields).read()
                self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn(expected, answer.call.details())
            self.assertEqual(len(ask(server, "guest", max_tokens=8).read().ids), 8)

    def test_a_name_in_the_metadata_is_nobody(self):
        """Whoever may call could name any tenant: names count from a trusted forwarder alone."""
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            for key in ("x-quire-tenant", "tenant", "x-tenant-id"):
                call = server.generate(metadata=[(key, "acme")])
                self.assertEqual(Answer(call).read().code, grpc.StatusCode.UNAUTHENTICATED)
                self.assertEqual(reason(call), "CREDENTIALS_MISSING")
                limited = server.generate(metadata=[(key, "acme"), *as_tenant("guest")],
                                          max_tokens=9)
                self.assertIn("from 1 to 8 for this tenant",
                              Answer(limited).read().call.details())

    def test_every_call_says_whose_it_is(self):
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            calls = [lambda **more: server.stub.Tokenize(pb.TokenizeRequest(text="a"), **more),
                     lambda **more: server.stub.Detokenize(
                         pb.DetokenizeRequest(token_ids=[5]), **more),
                     lambda **more: server.stub.ListModels(pb.ListModelsRequest(), **more),
                     lambda **more: server.stub.GetModel(pb.GetModelRequest(), **more)]
            for call in calls:
                with self.assertRaises(grpc.RpcError) as refused:
                    call(timeout=TIMEOUT)
                self.assertEqual(reason(refused.exception), "CREDENTIALS_MISSING")
                call(timeout=TIMEOUT, metadata=as_tenant("guest"))

    def test_the_client_shows_a_key(self):
        def generate(*flags, **environment):
            return subprocess.run(
                [os.environ["QUIRE_CLI"], "generate", "--server", server.address, *flags,
                 "--max-tokens", "4", "Anna has"], capture_output=True, text=True, timeout=TIMEOUT,
                env={**os.environ, **environment})

        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            with ConfigFile(api_key("acme") + "\n") as key:
                done = generate("--api-key-file", key.path, "--priority", "7")
                self.assertEqual(done.returncode, 0, done.stderr)
            done = generate(QUIRE_API_KEY=api_key("guest"))
            self.assertEqual(done.returncode, 0, done.stderr)
            done = generate()
            self.assertEqual(done.returncode, 1)
            self.assertIn("UNAUTHENTICATED: the call does not show whose it is", done.stderr)
            done = generate(QUIRE_API_KEY=api_key("nobody"))
            self.assertIn("UNAUTHENTICATED: the API key is not valid here", done.stderr)
            self.assertNotIn(api_key("nobody"), done.stderr)
            self.assertIn("--api-key-file", generate("--api-key-file", "/no/such/file").stderr)
            self.assertIn("QUIRE_API_KEY", generate(QUIRE_API_KEY="a b").stderr)

    def test_a_key_that_quire_has_made_is_good(self):
        made = subprocess.run([os.environ["QUIRE_CLI"], "auth", "new-key", "web-1"], check=True,
                              capture_output=True, text=True, timeout=TIMEOUT)
        entry = json.loads(made.stderr.splitlines()[-1])
        self.assertEqual(entry["id"], "web-1")
        with ConfigFile({"tenants": [{"name": "a", "api_keys": [entry]}]}) as file:
            with QuireServer("--config", file.path) as server:
                metadata = [("authorization", f"Bearer {made.stdout.strip()}")]
                answer = Answer(server.generate(metadata=metadata, max_tokens=2)).read()
                self.assertEqual(answer.code, grpc.StatusCode.OK)

    def test_a_full_queue_says_when_to_come_back(self):
        with QuireServer("--max-running", "1", "--max-queued", "1") as server:
            running = Answer(server.generate(max_tokens=1900, ignore_eos=True)).read(at_most=1)
            calls = [server.generate(max_tokens=200, ignore_eos=True) for _ in range(20)]
            refused = [call for call in calls
                       if Answer(call).read().code == grpc.StatusCode.RESOURCE_EXHAUSTED]
            running.call.cancel()
            by_queue = [call for call in refused if "queue" in call.details()]
            self.assertTrue(by_queue)
            for call in by_queue:
                found = details(call)
                self.assertEqual(found["ErrorInfo"].reason, "QUEUE_FULL")
                self.assertEqual(found["QuotaFailure"].violations[0].subject, "server")
                wait = found["RetryInfo"].retry_delay.ToTimedelta().total_seconds()
                self.assertGreater(wait, 0)
                pushback = int(dict(call.trailing_metadata())["grpc-retry-pushback-ms"])
                self.assertAlmostEqual(pushback / 1000, wait, delta=0.001)


class ReloadTest(unittest.TestCase):
    def reload(self, server):
        """Has the server read its file again; returns the line in its log that says how it went."""
        before = len(server.log)
        server.signal(signal.SIGHUP)
        return server.log_line(lambda line: "reloaded" in line, after=before)

    def test_a_reload_changes_who_may_call_and_no_stream_that_runs(self):
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            stream = ask(server, "acme", max_tokens=1900).read(at_most=1)
            file.write(with_keys({"name": "new"}, {"name": "guest", "max_output_tokens": 3}))
            self.assertIn(f"reloaded {file.path}: tenants added: 1, removed: 1, changed: 1",
                          self.reload(server))
            self.assertEqual(ask(server, "new").read().code, grpc.StatusCode.OK)
            self.assertIn("from 1 to 3", ask(server, "guest").read().call.details())
            removed = ask(server, "acme").read()
            self.assertEqual(removed.code, grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(reason(removed.call), "API_KEY_UNKNOWN")
            stream.read()
            self.assertEqual(stream.code, grpc.StatusCode.OK)
            self.assertEqual(len(stream.ids), 1900)
            file.write({"default_tenant": {"max_output_tokens": 2}})
            self.assertIn("added: 1, removed: 2", self.reload(server))
            self.assertIn("from 1 to 2", ask(server, "acme").read().call.details())
            file.write(TENANTS)
            self.assertIn("added: 2, removed: 1, changed: 0", self.reload(server))
            self.assertEqual(ask(server, "acme").read().code, grpc.StatusCode.OK)

    def test_a_bad_file_leaves_all_as_it_was(self):
        with ConfigFile(TENANTS) as file, QuireServer("--config", file.path) as server:
            for content, expected in [
                    (with_keys({"name": "new"}, {"name": "new"}), "'new' is taken"),
                    (with_keys({"name": "new", "kv_reserved": "1T"}),
                     "the KV cache of"),
                    ("{", file.path)]:
                file.write(content)
                line = self.reload(server)
                self.assertIn("not reloaded, all stays as it was: ", line)
                self.assertIn(expected, line)
                self.assertEqual(ask(server, "acme").read().code, grpc.StatusCode.OK)
                self.assertEqual(ask(server, "new").read().code, grpc.StatusCode.UNAUTHENTICATED)

    def test_without_a_file_a_hangup_ends_the_server(self):
        server = QuireServer()
        server.signal(signal.SIGHUP)
        self.assertEqual(server.wait(), -signal.SIGHUP)


if __name__ == "__main__":
    unittest.main()
