"""Runs a quire-server for a test and talks to it with stock gRPC.

The environment says what to test: QUIRE_SERVER (the binary), QUIRE_MODEL (a model directory) and
QUIRE_STUBS (where the Python stubs are).
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.environ["QUIRE_STUBS"])

import error_details_pb2  # noqa: E402,F401
import grpc  # noqa: E402
import health_pb2  # noqa: E402
import health_pb2_grpc  # noqa: E402
import reflection_pb2  # noqa: E402,F401
import reflection_pb2_grpc  # noqa: E402,F401
import status_pb2  # noqa: E402,F401
from quire.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402,F401
from quire.v1 import inference_pb2 as pb  # noqa: E402
from quire.v1 import inference_pb2_grpc  # noqa: E402

from prometheus_text import parse  # noqa: E402

SERVICE = "quire.v1.InferenceService"
MODEL = os.environ["QUIRE_MODEL"]
# Channel options of a client that takes little before it has read.
NARROW = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
# Every call has a deadline, so that a test fails rather than hangs.
TIMEOUT = 120


def command(*flags):
    """The command line: `flags`, and what a test needs where they do not say it."""
    defaults = {"--model": MODEL, "--listen": "127.0.0.1:0", "--metrics-listen": "127.0.0.1:0"}
    line = [os.environ["QUIRE_SERVER"], *flags]
    for flag, value in defaults.items():
        if flag not in flags:
            line += [flag, value]
    return line


def run_to_end(*flags):
    """Runs a server that is expected to end by itself; returns (exit code, stderr)."""
    done = subprocess.run(command(*flags), capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stderr


def quire(*arguments):
    """What the command printed, which must have worked."""
    done = subprocess.run([os.environ["QUIRE_CLI"], *arguments], capture_output=True, text=True,
                          timeout=TIMEOUT)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
    return done.stdout


class QuireServer:
    """A running server. As a context manager it is ended with SIGTERM and must exit with 0."""

    def __init__(self, *flags, open_files=None):
        limit = open_files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                           (open_files, open_files)))
        self.process = subprocess.Popen(command(*flags), stderr=subprocess.PIPE, text=True,
                                        preexec_fn=limit)
        self.log = []
        self._logged = threading.Condition()
        self.address = self.metrics_address = self.admin_address = self.health_address = None
        for line in self.process.stderr:
            self.log.append(line)
            message = json.loads(line)["msg"] if line.startswith("{") else line
            if "metrics on " in message:
                self.metrics_address = message.split()[-1]
            if "admin on " in message or "admin with TLS on " in message:
                self.admin_address = message.split()[-1]
            if "health on " in message:
                self.health_address = message.split()[-1]
            if "listening on " in message or "listening with TLS on " in message:
                self.address = message.split()[-1]
                break
        if self.address is None:
            raise AssertionError(f"the server did not start: {''.join(self.log)}")
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.channel, self.stub = self.connect()

    def _read_log(self):
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()

    def log_line(self, matches, after=0):
        """Waits for a line of the log, behind the first `after`, and returns it."""
        def found():
            return next((line for line in self.log[after:] if matches(line)), None)

        with self._logged:
            assert self._logged.wait_for(found, TIMEOUT), f"never logged: {''.join(self.log)}"
            return found()

    def log_when(self, holds):
        """Waits until `holds` is true of the lines of the log."""
        with self._logged:
            assert self._logged.wait_for(lambda: holds(self.log), TIMEOUT), "".join(self.log)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        code = self.stop()
        if kind is None and code != 0:
            raise AssertionError(f"exit code {code}: {''.join(self.log)}")

    def connect(self, options=()):
        """A connection of its own and a stub for it."""
        # A proxy from the environment is not meant for the server under test.
        channel = grpc.insecure_channel(
            self.address, [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
                           *options])
        return channel, inference_pb2_grpc.InferenceServiceStub(channel)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Waits for the end of the process and returns its exit code."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join()
        self.process.stderr.close()
        self.channel.close()
        return code

    def stop(self):
        self.signal()
        return self.wait()

    def generate(self, text="Anna has", stub=None, timeout=TIMEOUT, metadata=(), **fields):
        request = pb.GenerateRequest(**fields)
        if not request.HasField("token_ids"):
            request.text = text
        return (stub or self.stub).Generate(request, timeout=timeout, metadata=metadata)

    def hold_place(self):
        """A request that runs and whose client reads one message alone: with a --pause-grace it keeps
        its place until it is cancelled. Its channel, and its answer."""
        channel, stub = self.connect(NARROW)
        answer = Answer(self.generate(stub=stub, max_tokens=1900, ignore_eos=True, logprobs=True))
        answer.read(at_most=1)
        self.metrics_when(lambda metrics: metrics.value("quire_requests_paused") == 1)
        return channel, answer

    def health(self, service):
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status

    def metrics_text(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.metrics_address, timeout=TIMEOUT) as reply:
            return reply.read().decode()

    def metrics(self):
        return parse(self.metrics_text())

    def metrics_when(self, holds):
        """Scrapes until `holds` is true of what it gets, and returns that."""
        give_up = time.monotonic() + TIMEOUT
        while time.monotonic() < give_up:
            metrics = self.metrics()
            if holds(metrics):
                return metrics
        raise AssertionError(f"never came true:\n{self.metrics_text()}")

    def metrics_at_rest(self):
        """Metrics once the server has seen the end of every call."""
        names = ["quire_streams_open", "quire_requests_running", "quire_requests_waiting"]
        return self.metrics_when(lambda metrics: not any(metrics.value(name) for name in names))


def unused_blocks(metrics):
    """KV blocks that no request holds."""
    return sum(metrics.value("quire_kv_blocks", state=state) for state in ("free", "cached"))


class Answer:
    """All messages of one answer, and the rules that every answer obeys."""

    def __init__(self, call, index=0):
        self.call, self.index = call, index
        self.text, self.ids, self.logprobs, self.messages = "", [], [], []
        self.top_logprobs = []
        self.prompt_text, self.prompt_ids = "", []
        self.prompt_logprobs, self.prompt_top_logprobs = [], []

    def read(self, at_most=None):
        """Reads to the end, or `at_most` messages; returns itself."""
        try:
            for message in self.call:
                first = not self.messages
                assert bool(message.request_id) == first, "request_id is the first message's"
                self._add(message)
                if at_most is not None and len(self.messages) >= at_most:
                    return self
        except grpc.RpcError:
            pass
        return self

    def _add(self, message):
        assert not self.finish_reason, "a message came after the last one"
        assert message.token_offset == len(self.ids), "a gap or a repeat"
        assert message.index == self.index, "another answer's message"
        assert not self.ids or not message.prompt_logprobs, "the prompt comes first"
        self.messages.append(message)
        self.top_logprobs.extend(message.top_logprobs)
        self.prompt_text += message.prompt_text
        self.prompt_ids.extend(message.prompt_token_ids)
        self.prompt_logprobs.extend(message.prompt_logprobs)
        self.prompt_top_logprobs.extend(message.prompt_top_logprobs)
        self.text += message.text
        self.ids.extend(message.token_ids)
        self.logprobs.extend(message.logprobs)

    @property
    def finish_reason(self):
        return self.messages[-1].finish_reason if self.messages else 0

    @property
    def usage(self):
        return self.messages[-1].usage

    @property
    def code(self):
        return self.call.code()


class Answers:
    """A stream of several answers, by index."""

    def __init__(self, call):
        self.call, self.by_index, self.messages = call, {}, []
        try:
            for message in call:
                assert not self.messages or not message.request_id, "request_id comes once"
                assert not any(m.HasField("usage") for m in self.messages), "usage comes last"
                self.messages.append(message)
                answer = self.by_index.setdefault(message.index, Answer(call, message.index))
                answer._add(message)
        except grpc.RpcError:
            pass

    @property
    def usage(self):
        return self.messages[-1].usage

    @property
    def code(self):
        return self.call.code()
