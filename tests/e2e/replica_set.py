"""Several servers behind a stock proxy, and clients that try again as a service config tells them."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import grpc

from quire_server import TIMEOUT, QuireServer, inference_pb2_grpc, pb

# Debian has it where not everybody's path leads.
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
RETRYING = json.dumps({"methodConfig": [{
    "name": [{"service": "quire.v1.InferenceService"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "1s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})
PREFIX_HEADER = "x-prefix-hash"
BALANCE = {"round robin": "balance roundrobin",
           "least busy": "balance leastconn",
           "by prefix": f"balance hdr({PREFIX_HEADER})\n  hash-type consistent"}
PROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client {timeout}s
  timeout server {timeout}s
  option redispatch 1
  retries 3
frontend grpc
  bind fd@{listener} proto h2
  default_backend replicas
backend replicas
  {balance}
"""


class Proxy:
    """HAProxy in front of servers, each request for itself. A server that is gone is noticed by
    its port; one that drains refuses, and it is the client who asks again."""

    def __init__(self, addresses, balance):
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.folder = tempfile.TemporaryDirectory()
        config = PROXY.format(listener=listener.fileno(), balance=BALANCE[balance],
                              timeout=TIMEOUT)
        for number, address in enumerate(addresses):
            config += f"  server replica{number} {address} proto h2 check inter 100ms\n"
        path = pathlib.Path(self.folder.name, "haproxy.cfg")
        path.write_text(config)
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", path], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, pass_fds=[listener.fileno()])
        listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.folder.cleanup()


class ReplicaSet:
    """Servers with the same flags, each at a loopback address of its own: nobody else is given the
    port of one that is to be replaced. As a context manager all that live are ended."""

    def __init__(self, count, *flags):
        self.flags = flags
        self.servers = [QuireServer(*flags, "--listen", f"127.0.0.{number + 2}:0")
                        for number in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            if server.process.poll() is None:
                server.stop()

    @property
    def addresses(self):
        return [server.address for server in self.servers]

    def replace(self, number):
        """A new one in the place of one that has ended, at the same address."""
        address = self.servers[number].address
        self.servers[number] = QuireServer(*self.flags, "--listen", address)

    def total(self, name):
        return sum(server.metrics().total(name) for server in self.servers)


def retrying_stub(address, stack):
    """Of a connection of its own, which lasts as long as `stack`."""
    channel = grpc.insecure_channel(address, [
        ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 1), ("grpc.service_config", RETRYING)])
    stack.callback(channel.close)
    return inference_pb2_grpc.InferenceServiceStub(channel)


class Outcome:
    """How a request went."""

    def __init__(self, tokens, code):
        self.tokens, self.code = tokens, code

    @property
    def ok(self):
        return self.code is grpc.StatusCode.OK


class Load:
    """Streams that send one request after the other until they are stopped, each over a connection
    of its own."""

    def __init__(self, address, streams, **fields):
        self.address = address
        self.fields = {"text": "Anna has", "ignore_eos": True, "max_tokens": 40, **fields}
        self.outcomes, self._ended = [], threading.Condition()
        self._stopping = threading.Event()
        self.threads = [threading.Thread(target=self._stream) for _ in range(streams)]
        for thread in self.threads:
            thread.start()

    def _stream(self):
        with contextlib.ExitStack() as stack:
            stub = retrying_stub(self.address, stack)
            while not self._stopping.is_set():
                outcome = self._ask(stub)
                with self._ended:
                    self.outcomes.append(outcome)
                    self._ended.notify_all()

    def _ask(self, stub):
        call = stub.Generate(pb.GenerateRequest(**self.fields), timeout=TIMEOUT)
        tokens = 0
        try:
            for message in call:
                tokens += len(message.token_ids)
        except grpc.RpcError:
            pass
        return Outcome(tokens, call.code())

    def wait_for_more(self, count):
        """Until so many more requests have ended well."""
        def well():
            return sum(outcome.ok for outcome in self.outcomes)

        with self._ended:
            wanted = well() + count
            assert self._ended.wait_for(lambda: well() >= wanted, TIMEOUT), "nothing goes on"

    def stop(self):
        """Returns how all requests went."""
        self._stopping.set()
        for thread in self.threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "a request never ends"
        return self.outcomes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
