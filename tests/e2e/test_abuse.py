"""Clients that mean harm or have gone wrong: each is bounded, and the next client is served."""

import contextlib
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

import grpc

from certificates import SERVER_NAME, Authority
from http2_client import (ACK, CANCEL, DATA, END_HEADERS, END_STREAM, GENERATE, GOAWAY, HEADERS, PING,
                          PREFACE, RST_STREAM, Connection, call_headers, frame, header_block, message,
                          settings)
from quire_server import TIMEOUT, Answer, QuireServer, pb, unused_blocks
from tenant_files import ConfigFile, as_tenant, with_keys

MIB = 1 << 20
# Until a server has to have got over what was done to it.
RECOVERY_S = 30
# What a server may have grown by then, beyond what a few answers take.
GROWTH = 100 * MIB
HEALTHY = {"text": "Anna has 3 red pears. Tom has", "max_tokens": 40, "ignore_eos": True}


def generate_message(**fields):
    return message(pb.GenerateRequest(**fields).SerializeToString())


LONG = generate_message(text="Anna has", max_tokens=1900, ignore_eos=True)
LONGEST = generate_message(text="Anna has", max_tokens=1900, ignore_eos=True, n=16)
SHORT = generate_message(text="Anna has", max_tokens=1, ignore_eos=True)


def resident(server):
    return server.metrics().value("process_resident_memory_bytes")


class AbuseCase(unittest.TestCase):
    @contextlib.contextmanager
    def abused(self, *flags, **options):
        """A server that has to serve a new client after what is done to it, in time and memory."""
        with QuireServer(*flags, **options) as server:
            wanted = Answer(server.generate(**HEALTHY)).read().ids
            before = resident(server)
            yield server
            began = time.monotonic()
            self.assertEqual(self.serve_anew(server).ids, wanted)
            served = time.monotonic() - began
            metrics = server.metrics_at_rest()
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))
            peak = resident(server) - before
            metrics = server.metrics_when(
                lambda m: m.value("process_resident_memory_bytes") - before < GROWTH)
            left = metrics.value("process_resident_memory_bytes") - before
            took = time.monotonic() - began
            print(f"served after {served:.2f} s; {peak / MIB:.0f} MiB more, {left / MIB:.0f} MiB more "
                  f"after {took:.2f} s", flush=True)
            self.assertLess(took, RECOVERY_S)

    def serve_anew(self, server):
        """What a new client gets; where there is no place for it, gRPC may not have seen yet which
        connections are closed."""
        began = time.monotonic()
        while True:
            channel, stub = server.connect()
            answer = Answer(server.generate(stub=stub, timeout=RECOVERY_S, **HEALTHY)).read()
            channel.close()
            if answer.code == grpc.StatusCode.OK:
                return answer
            self.assertEqual(answer.code, grpc.StatusCode.UNAVAILABLE, answer.call.details())
            self.assertLess(time.monotonic() - began, RECOVERY_S)


class ReaderTest(AbuseCase):
    def test_clients_that_never_read_are_ended_and_nobody_else_suffers(self):
        with self.abused("--write-stall-timeout", "5s", "--max-stream-buffer", "64M") as server:
            wanted = Answer(server.generate(max_tokens=1500, ignore_eos=True, seed=1)).read().ids
            # A window too small for a message, so that its first write stays in flight.
            stuck = [Connection(server.address, window=1).start() for _ in range(4)]
            streams = [[connection.call(LONG) for _ in range(16)] for connection in stuck]
            beside = [server.generate(max_tokens=1500, ignore_eos=True, seed=1) for _ in range(4)]
            metrics = server.metrics_when(
                lambda m: m.value("quire_slow_readers_total", reason="stalled") == 64)
            self.assertEqual(metrics.value("quire_slow_readers_total", reason="buffer"), 0)
            for call in beside:
                answer = Answer(call).read()
                self.assertEqual(answer.code, grpc.StatusCode.OK)
                self.assertEqual(answer.ids, wanted)
            metrics = server.metrics_at_rest()  # although they are all still connected
            self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))
            for connection, ids in zip(stuck, streams):
                self.assertEqual(connection.trailers(ids[-1])["grpc-status"],
                                 str(grpc.StatusCode.CANCELLED.value[0]))
                connection.close()

    def test_one_that_takes_a_byte_at_a_time_gets_its_whole_answer(self):
        with QuireServer("--write-stall-timeout", "2s", "--max-stream-buffer", "64M") as server:
            with Connection(server.address, window=1).start() as connection:
                stream = connection.call(generate_message(text="Anna has", max_tokens=5,
                                                          ignore_eos=True, message_interval=1))
                self.assertEqual(len(self.read_tokens(connection, stream, 1)), 5)

    def test_one_that_stops_reading_holds_neither_a_place_nor_kv_and_may_read_on(self):
        with self.abused("--max-running", "1", "--pause-grace", "100ms",
                         "--write-stall-timeout", "0") as server:
            whole = Answer(server.generate(max_tokens=1900, ignore_eos=True, seed=1)).read().ids
            with Connection(server.address, window=1).start() as connection:
                stream = connection.call(generate_message(text="Anna has", max_tokens=1900,
                                                          ignore_eos=True, seed=1))
                metrics = server.metrics_when(lambda m: m.value("quire_requests_paused") == 1 and
                                              m.value("quire_requests_running") == 0)
                self.assertEqual(unused_blocks(metrics), metrics.value("quire_kv_capacity_blocks"))
                generated = metrics.value("quire_generated_tokens_total")
                beside = Answer(server.generate(max_tokens=1900, ignore_eos=True, seed=1)).read()
                self.assertEqual(beside.ids, whole)
                metrics = server.metrics_when(lambda m: m.value("quire_requests_running") == 0)
                self.assertEqual(metrics.value("quire_requests_paused"), 1)
                self.assertEqual(metrics.value("quire_generated_tokens_total"), generated + 1900)
                connection.widen(0, 1 << 20)
                connection.widen(stream, 1 << 20)
                self.assertEqual(self.read_tokens(connection, stream, 0), whole)

    def read_tokens(self, connection, stream, widen):
        """Of a whole answer; gives the stream so many bytes more for each frame."""
        received = b""
        ended = False
        while not ended:
            kind, flags, which, payload = connection.read_frame()
            if kind == DATA and which == stream:
                received += payload
                if widen:
                    connection.widen(stream, widen)
            self.assertNotEqual(kind, RST_STREAM)
            ended = kind == HEADERS and bool(flags & END_STREAM)
        tokens = []
        while received:
            size = int.from_bytes(received[1:5], "big")
            tokens += pb.GenerateResponse.FromString(received[5:5 + size]).token_ids
            received = received[5 + size:]
        return tokens


class TenantTest(unittest.TestCase):
    def test_a_tenant_whose_clients_do_not_read_leaves_streams_to_others(self):
        with ConfigFile(with_keys({"name": "a"}, {"name": "b"})) as file, QuireServer(
                "--config", file.path, "--max-running", "2", "--max-queued", "2",
                "--write-stall-timeout", "0") as server:
            connection = Connection(server.address, window=1).start()
            headers = call_headers(GENERATE, *as_tenant("a"))
            for count in range(1, 7):  # of the eight streams that there are
                connection.call(SHORT, headers)
                server.metrics_when(
                    lambda m: m.value("quire_requests_finished_total", reason="length") == count)
            self.assertEqual(server.metrics().value("quire_streams_open"), 6)
            refused = Answer(server.generate(metadata=as_tenant("a"), max_tokens=1)).read()
            self.assertEqual(refused.code, grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("the tenant has 6 open streams", refused.call.details())
            served = Answer(server.generate(metadata=as_tenant("b"), max_tokens=1)).read()
            self.assertEqual(served.code, grpc.StatusCode.OK, served.call.details())
            connection.close()


# Runs until it is killed.
CLIENT = """
import sys
from quire_server import grpc, inference_pb2_grpc, pb
stub = inference_pb2_grpc.InferenceServiceStub(
    grpc.insecure_channel(sys.argv[1], [("grpc.enable_http_proxy", 0)]))
calls = [stub.Generate(pb.GenerateRequest(text="Anna has", max_tokens=1900, ignore_eos=True))
         for _ in range(32)]
for call in calls:
    next(call)
print("all have begun", flush=True)
while True:
    for call in calls:
        next(call, None)
"""


class DeadClientTest(AbuseCase):
    def test_a_client_that_is_killed_frees_its_kv_at_once(self):
        with self.abused("--max-running", "32") as server:
            client = subprocess.Popen([sys.executable, "-c", CLIENT, server.address],
                                      stdout=subprocess.PIPE, text=True)
            self.assertEqual(client.stdout.readline(), "all have begun\n")
            self.assertGreater(server.metrics().value("quire_streams_open"), 0)
            client.kill()
            began = time.monotonic()
            metrics = server.metrics_when(lambda m: m.value("quire_streams_open") == 0 and
                                          unused_blocks(m) == m.value("quire_kv_capacity_blocks"))
            took = time.monotonic() - began
            print(f"kill -9 of 32 streams: all KV free after {took:.3f} s", flush=True)
            client.wait()
            client.stdout.close()
            self.assertGreater(metrics.value("quire_requests_finished_total", reason="cancelled"), 0)
            self.assertLess(took, 10)

    def test_one_that_does_not_answer_pings_is_given_up_and_one_that_does_is_kept(self):
        with self.abused("--keepalive-time", "200ms", "--keepalive-timeout", "2s") as server:
            dead, alive = Connection(server.address).start(), Connection(server.address).start()
            dead_ends = threading.Thread(target=dead.read_to_end)
            dead_ends.start()
            for _ in range(5):  # more than the two that gRPC sends of itself without data
                alive.next_of(PING)
            dead_ends.join(TIMEOUT)
            self.assertFalse(dead_ends.is_alive())
            stream = alive.call(SHORT)
            self.assertEqual(alive.trailers(stream)["grpc-status"], "0")
            alive.close()


class FloodTest(AbuseCase):
    RESETS, CONNECTIONS = int(os.environ.get("QUIRE_RESETS", 40_000)), 8

    def reset_rapidly(self, address, count):
        """Begins calls and resets each at once, as fast as the server takes them."""
        with Connection(address).start() as connection:
            block = header_block(call_headers())
            reader = threading.Thread(target=connection.read_to_end, daemon=True)
            reader.start()
            for first in range(1, 2 * count, 2000):
                connection.send(b"".join(
                    frame(HEADERS, END_HEADERS, stream, block) +
                    frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
                    for stream in range(first, min(first + 2000, 2 * count), 2)))
            connection.socket.shutdown(socket.SHUT_WR)
            reader.join(TIMEOUT)
            self.assertFalse(reader.is_alive())

    def test_rapid_resets_are_absorbed(self):
        with self.abused() as server:
            began = time.monotonic()
            for _ in range(self.CONNECTIONS):
                self.reset_rapidly(server.address, self.RESETS // self.CONNECTIONS)
            print(f"{self.RESETS} resets in {time.monotonic() - began:.1f} s", flush=True)
            metrics = server.metrics_at_rest()
            self.assertEqual(metrics.value("quire_requests_accepted_total"), 1)

    def test_a_decompression_bomb_is_refused_before_it_is_inflated(self):
        bomb = message(bytes(200 * MIB), compressed=True)
        self.assertLess(len(bomb), MIB)
        with self.abused() as server, Connection(server.address).start() as connection:
            before = resident(server)
            stream = connection.call(bomb, call_headers(GENERATE, ("grpc-encoding", "gzip")))
            trailers = connection.trailers(stream)
            self.assertEqual(trailers["grpc-status"],
                             str(grpc.StatusCode.UNIMPLEMENTED.value[0]), trailers)
            self.assertLess(resident(server) - before, 50 * MIB)


class HandshakeTest(AbuseCase):
    def ends(self, address, beginnings):
        """How long connections live that send these and no more."""
        connections = [Connection(address) for _ in beginnings]
        for connection, data in zip(connections, beginnings):
            connection.send(data)
        began, lives = time.monotonic(), []
        for connection in connections:
            connection.read_to_end()
            lives.append(time.monotonic() - began)
        return lives

    def test_a_connection_that_does_not_begin_is_closed(self):
        beginnings = [b"", PREFACE[:10], PREFACE, PREFACE + settings(window=1)[:12]]
        with self.abused("--handshake-timeout", "1s") as server:
            for life in self.ends(server.address, beginnings * 8):
                self.assertLess(life, RECOVERY_S)

    def test_one_that_begins_tls_and_does_not_go_on_is_closed(self):
        with Authority() as authority:
            certificate, key = authority.issue("server", f"DNS:{SERVER_NAME}")
            hello = self.client_hello(authority)
            with QuireServer("--handshake-timeout", "4s", "--tls-cert", str(certificate),
                             "--tls-key", str(key)) as server:
                for life in self.ends(server.address, [b"", hello[:5], hello[:-1], hello] * 8):
                    self.assertLess(life, RECOVERY_S)
                context = ssl.create_default_context(cafile=authority.roots)
                context.set_alpn_protocols(["h2"])
                connection = Connection(server.address)
                connection.socket = context.wrap_socket(connection.socket,
                                                        server_hostname=SERVER_NAME)
                connection.read_to_end()  # TLS, and then not a word
                connection = Connection(server.address)
                connection.socket = context.wrap_socket(connection.socket,
                                                        server_hostname=SERVER_NAME)
                stream = connection.start().call(SHORT)
                self.assertEqual(connection.trailers(stream)["grpc-status"], "0")
                connection.close()

    def client_hello(self, authority):
        context = ssl.create_default_context(cafile=authority.roots)
        out = ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=SERVER_NAME).do_handshake()
        return out.read()


class ConnectionTest(AbuseCase):
    FILES, CONNECTIONS, BURST = 1024, 384, 1500

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < 2 * cls.BURST:
            raise unittest.SkipTest(f"this process may have {hard} files")

    def test_more_connections_than_descriptors_leave_a_server_that_accepts(self):
        with self.abused("--max-connections", str(self.CONNECTIONS), "--handshake-timeout", "1h",
                         open_files=self.FILES) as server:
            burst = [Connection(server.address) for _ in range(self.BURST)]
            metrics = server.metrics_when(
                lambda m: m.value("quire_refused_connections_total") >=
                self.BURST - self.CONNECTIONS)
            self.assertEqual(metrics.value("quire_accept_failures_total"), 0)
            self.assertLess(metrics.value("process_open_fds"), self.FILES)
            self.assertEqual(metrics.value("process_max_fds"), self.FILES)
            began = time.monotonic()
            for connection in burst:
                connection.close()
            self.serve_anew(server)
            took = time.monotonic() - began
            print(f"{self.BURST} connections closed: accepted again after {took:.2f} s", flush=True)
            self.assertLess(took, RECOVERY_S)

    def test_as_many_connections_as_there_may_be_and_one_more(self):
        with self.abused("--max-connections", "4") as server:
            # The fourth is that of the server's own stub.
            held = [Connection(server.address).start() for _ in range(3)]
            self.assertEqual(Connection(server.address).read_to_end(), [])
            self.assertEqual(server.metrics().value("quire_refused_connections_total"), 1)
            for connection in held:
                stream = connection.call(SHORT)
                self.assertEqual(connection.trailers(stream)["grpc-status"], "0")
                connection.close()

    def test_health_and_admin_have_places_of_their_own(self):
        with QuireServer("--max-connections", "1", "--health-listen", "127.0.0.1:0", "--admin-listen",
                         "127.0.0.1:0") as server:
            Answer(server.generate(**HEALTHY)).read()  # its stub's connection is the one
            self.assertEqual(Connection(server.address).read_to_end(), [])
            for address in (server.health_address, server.admin_address):
                Connection(address).start().close()

    def test_an_old_connection_takes_no_new_calls_and_loses_none(self):
        with self.abused("--max-connection-age", "500ms") as server:
            with Connection(server.address, window=1 << 24).start() as connection:
                connection.widen(0, 1 << 24)  # of the connection, for an answer that takes a while
                stream = connection.call(LONGEST)
                connection.next_of(GOAWAY)
                self.assertEqual(connection.trailers(stream)["grpc-status"], "0")
            # A stock client does not notice.
            for _ in range(30):
                answer = Answer(server.generate(max_tokens=300, ignore_eos=True)).read()
                self.assertEqual(answer.code, grpc.StatusCode.OK)

    def test_the_calls_on_an_old_connection_are_ended_after_the_grace(self):
        with self.abused("--max-connection-age", "300ms", "--max-connection-age-grace", "2s",
                         "--write-stall-timeout", "0") as server:
            connection = Connection(server.address, window=1).start()
            connection.call(LONG)
            kinds = connection.read_to_end()
            self.assertIn(GOAWAY, kinds)

    def test_a_client_that_asks_for_signs_of_life_all_the_time_is_sent_away(self):
        ping = frame(PING, 0, 0, bytes(8))
        with self.abused("--min-ping-interval", "1h") as server:
            connection = Connection(server.address).start()
            connection.send(ping * 10)
            self.assertIn(b"too_many_pings", connection.next_of(GOAWAY)[3])
            connection.close()
        with QuireServer("--min-ping-interval", "0") as server:
            with Connection(server.address).start() as connection:
                connection.send(ping * 10)
                for _ in range(10):
                    self.assertEqual(connection.next_of(PING, GOAWAY)[:2], (PING, ACK))


if __name__ == "__main__":
    unittest.main()
