"""Three servers behind a stock proxy: what a replica's end costs, and what the fleet keeps of what one
server promises. The figures are printed; README.md has them."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import unittest

from quire_server import TIMEOUT, Answer, pb
from replica_set import HAPROXY, PREFIX_HEADER, Load, Proxy, ReplicaSet, retrying_stub
from tenant_files import ConfigFile, api_key, with_keys

REPLICAS = 3
STREAMS = 12
SEED = 20260101


def setUpModule():
    if HAPROXY is None:
        raise unittest.SkipTest("haproxy is not installed (deploy/install_deps.sh --test)")


def report(text):
    print(f"replicas: {text}", file=sys.stderr)


class RollingTest(unittest.TestCase):
    def test_draining_one_after_the_other_loses_no_request(self):
        with ReplicaSet(REPLICAS, "--threads", "1") as replicas, \
                Proxy(replicas.addresses, "round robin") as proxy, \
                Load(proxy.address, STREAMS) as load:
            load.wait_for_more(STREAMS)
            for number, server in enumerate(replicas.servers):
                self.assertEqual(server.stop(), 0, "a drain ends with 0")
                load.wait_for_more(2 * STREAMS)
                replicas.replace(number)
                # The proxy has noticed.
                replicas.servers[number].metrics_when(lambda metrics: metrics.value(
                    "quire_requests_finished_total", reason="length") > 0)
            outcomes = load.stop()
        failed = [outcome for outcome in outcomes if not outcome.ok]
        report(f"each of {REPLICAS} drained and replaced under {STREAMS} streams: {len(outcomes)} "
               f"requests, {len(failed)} lost")
        self.assertEqual([outcome.code for outcome in failed], [])
        self.assertEqual({outcome.tokens for outcome in outcomes}, {40})

    def test_a_killed_replica_takes_only_what_has_begun_to_answer(self):
        # Few places, so that requests wait for their first token at every replica.
        with ReplicaSet(REPLICAS, "--threads", "1", "--max-running", "2") as replicas, \
                Proxy(replicas.addresses, "round robin") as proxy, \
                Load(proxy.address, STREAMS, max_tokens=150) as load:
            load.wait_for_more(STREAMS)
            victim = replicas.servers[0]
            victim.metrics_when(lambda metrics: metrics.value("quire_requests_running") == 2 and
                                metrics.value("quire_requests_waiting") > 0)
            before = len(load.outcomes)
            victim.signal(signal.SIGKILL)
            self.assertEqual(victim.wait(), -signal.SIGKILL)
            load.wait_for_more(2 * STREAMS)
            outcomes = load.stop()
        failed = [outcome for outcome in outcomes if not outcome.ok]
        report(f"one of {REPLICAS} killed: {len(failed)} streams ended, all past their first "
               f"token; {len(outcomes) - before} others went on or were sent again")
        self.assertLessEqual(len(failed), 2, "as many as ran there")
        for outcome in failed:
            self.assertGreater(outcome.tokens, 0, outcome.code)
        self.assertEqual({outcome.tokens for outcome in outcomes if outcome.ok}, {150})


class PrefixTest(unittest.TestCase):
    """Prompts that begin alike, of a number of documents."""

    DOCUMENTS, QUESTIONS = 12, 6

    def prompts(self):
        generator = random.Random(SEED)
        words = [f"w{generator.randrange(1000)}" for _ in range(200)]
        documents = [" ".join(generator.choices(words, k=150)) for _ in range(self.DOCUMENTS)]
        prompts = [(document, f"{document} Question {number}?") for document in documents
                   for number in range(self.QUESTIONS)]
        generator.shuffle(prompts)
        return prompts

    def hit_ratio(self, replicas, balance):
        with Proxy(replicas.addresses, balance) as proxy, contextlib.ExitStack() as stack:
            stub = retrying_stub(proxy.address, stack)
            for document, prompt in self.prompts():
                # What a gateway would compute from the prompt's first tokens.
                digest = hashlib.sha256(document[:256].encode()).hexdigest()
                call = stub.Generate(pb.GenerateRequest(text=prompt, max_tokens=1),
                                     timeout=TIMEOUT, metadata=[(PREFIX_HEADER, digest)])
                Answer(call).read()
        return (replicas.total("quire_prefix_cache_hit_tokens_total") /
                replicas.total("quire_prefix_cache_queried_tokens_total"))

    def test_who_goes_by_the_prefix_finds_what_one_server_would(self):
        found = {}
        for name, count, balance in [("one server", 1, "round robin"),
                                     ("by prefix", REPLICAS, "by prefix"),
                                     ("round robin", REPLICAS, "round robin")]:
            with ReplicaSet(count, "--threads", "1") as replicas:
                found[name] = self.hit_ratio(replicas, balance)
                if balance == "by prefix":
                    used = [server.metrics().total("quire_requests_accepted_total")
                            for server in replicas.servers]
        report("prefix cache, tokens found of those looked up: " + ", ".join(
            f"{name} {ratio:.3f}" for name, ratio in found.items()))
        self.assertGreater(min(used), 0, "all replicas have work")
        self.assertGreater(found["one server"], 0.5, "or the comparison says nothing")
        self.assertGreaterEqual(found["by prefix"], 0.9 * found["one server"])
        self.assertLess(found["round robin"], 0.9 * found["by prefix"])


class ShareTest(unittest.TestCase):
    """Two tenants of weights 3 and 1 at three replicas, each with more than its share to do."""

    CONFIG = with_keys({"name": "three", "weight": 3}, {"name": "one", "weight": 1})
    COST = 20000  # tokens at each replica, of both

    def costs(self, replicas):
        """By replica: what was computed for each tenant."""
        return [{tenant: server.metrics().value("quire_tenant_cost_tokens_total", tenant=tenant)
                 for tenant in ("three", "one")} for server in replicas.servers]

    @contextlib.contextmanager
    def load(self, address, streams, *tenants):
        """Streams of each tenant, by a client that keeps all of them busy."""
        specs = [f"--tenant=name={tenant},concurrency={streams},prompt=16,output=64,"
                 f"key={api_key(tenant)}" for tenant in tenants]
        with subprocess.Popen([os.environ["QUIRE_BENCH"], "serve", "--target", address,
                               "--duration", str(TIMEOUT), *specs],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            try:
                yield
            finally:
                client.kill()

    def shares(self, replicas, busy):
        """Of tenant three, at each replica and of all, while those in `busy` have requests waiting."""
        for server, tenants in zip(replicas.servers, busy):
            server.metrics_when(lambda metrics: all(
                metrics.value("quire_tenant_requests_waiting", tenant=tenant) > 0
                for tenant in tenants))
        before = self.costs(replicas)
        for server, cost in zip(replicas.servers, before):
            server.metrics_when(lambda metrics: metrics.total("quire_tenant_cost_tokens_total") >=
                                sum(cost.values()) + self.COST)
        grown = [{tenant: after[tenant] - cost[tenant] for tenant in cost}
                 for after, cost in zip(self.costs(replicas), before)]
        three, both = sum(g["three"] for g in grown), sum(sum(g.values()) for g in grown)
        return [g["three"] / sum(g.values()) for g in grown], three / both

    @contextlib.contextmanager
    def replicas(self):
        with ConfigFile(self.CONFIG) as file, \
                ReplicaSet(REPLICAS, "--threads", "1", "--max-running", "4", "--config",
                           file.path) as replicas:
            yield replicas

    def test_with_connections_everywhere_each_gets_its_share_of_the_fleet(self):
        # In turns, whoever is slowest would soon have all that waits.
        with self.replicas() as replicas, Proxy(replicas.addresses, "least busy") as proxy, \
                self.load(proxy.address, 20 * REPLICAS, "three", "one"):
            each, fleet = self.shares(replicas, [("three", "one")] * REPLICAS)
        report("tenants of weights 3 and 1, even: the first has "
               f"{fleet:.3f} of the fleet ({', '.join(f'{share:.3f}' for share in each)})")
        for share in (*each, fleet):
            self.assertAlmostEqual(share, 0.75, delta=0.05)

    def test_with_one_tenant_at_one_replica_shares_hold_there_alone(self):
        with self.replicas() as replicas, contextlib.ExitStack() as stack:
            tenants = [("three", "one"), ("one",), ("one",)]
            for address, those in zip(replicas.addresses, tenants):
                stack.enter_context(self.load(address, 20, *those))
            each, fleet = self.shares(replicas, tenants)
        report("tenants of weights 3 and 1, the first at one replica alone: it has "
               f"{fleet:.3f} of the fleet ({', '.join(f'{share:.3f}' for share in each)})")
        self.assertAlmostEqual(each[0], 0.75, delta=0.05)
        self.assertEqual(each[1:], [0, 0])


if __name__ == "__main__":
    unittest.main()
