"""A server with TLS, tenants and little KV memory, and clients that have it do everything that there is a
metric of, over and over."""

import itertools
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import grpc  # noqa: E402

from certificates import SERVER_NAME, Authority  # noqa: E402
from quire_server import TIMEOUT, Answer, QuireServer, health_pb2, health_pb2_grpc  # noqa: E402
from quire_server import inference_pb2_grpc, pb  # noqa: E402
from tenant_files import ConfigFile, as_tenant, with_keys  # noqa: E402

TENANTS = with_keys({"name": "shop", "weight": 3, "kv_reserved": "64K"}, {"name": "search"},
                    {"name": "small", "max_running": 1, "max_queued": 1})
# Room for some 512 tokens of the demo model, which six long answers outgrow.
FLAGS = ["--overcommit", "--kv-memory", "512K", "--threads", "1"]
PROMPT = "Anna has 3 apples. " * 12


class MonitoredServer:
    """Running and at work once it is made; stop() ends both."""

    def __init__(self):
        self._authority, self._config = Authority(), ConfigFile(TENANTS)
        certificate, key = self._authority.issue("server", f"DNS:{SERVER_NAME}")
        self.server = QuireServer("--config", self._config.path, "--tls-cert", str(certificate),
                                  "--tls-key", str(key), *FLAGS)
        credentials = grpc.ssl_channel_credentials(self._authority.roots.read_bytes())
        self._channel = grpc.secure_channel(
            self.server.address, credentials, [("grpc.ssl_target_name_override", SERVER_NAME),
                                               ("grpc.enable_http_proxy", 0)])
        self._stub = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._stopped, self._errors = threading.Event(), []
        work = [lambda: self._ask("shop")] * 3 + [lambda: self._ask("search")] * 3 + [self._misbehave]
        self._threads = [threading.Thread(target=self._repeat, args=[one]) for one in work]
        self._numbers = itertools.count()
        for thread in self._threads:
            thread.start()

    def _repeat(self, work):
        try:
            while not self._stopped.is_set():
                work()
        except Exception as error:  # a thread's own end would be silent
            self._errors.append(error)

    def _generate(self, tenant, **fields):
        prompt = f"{PROMPT}Tom has {next(self._numbers)} pears."
        request = pb.GenerateRequest(**{"text": prompt, "ignore_eos": True, **fields})
        metadata = as_tenant(tenant) if tenant else ()
        return self._stub.Generate(request, metadata=metadata, timeout=TIMEOUT)

    def _ask(self, tenant):
        answer = Answer(self._generate(tenant, max_tokens=100)).read()
        assert answer.code == grpc.StatusCode.OK, answer.call.details()

    def _misbehave(self):
        """Cancels, asks for nothing, shows no key, asks for too much at once; then asks how things are."""
        cancelled = Answer(self._generate("search", max_tokens=100)).read(at_most=1)
        cancelled.call.cancel()
        Answer(self._generate("search", max_tokens=0)).read()
        Answer(self._generate(None, max_tokens=1)).read()
        for call in [self._generate("small", max_tokens=20) for _ in range(6)]:
            Answer(call).read()
        self._stub.ListModels(pb.ListModelsRequest(), metadata=as_tenant("shop"), timeout=TIMEOUT)
        health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT)
        self._channel.close()
        code = self.server.stop()
        self._config.__exit__()
        self._authority.__exit__()
        assert code == 0 and not self._errors, f"exit code {code}: {self._errors}"
