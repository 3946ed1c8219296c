"""Greedy answers from a running quire-server, through grpcio and stubs generated on the spot.

Needs grpcio and protobuf for Python, and protoc with grpc_python_plugin (Debian and Ubuntu:
python3-grpcio python3-protobuf protobuf-compiler protobuf-compiler-grpc); no torch.
"""

from __future__ import annotations

import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
from types import ModuleType

import grpc

PROTO = "quire/v1/inference.proto"
DEADLINE_SECONDS = 60


def generate_stubs(proto_root: pathlib.Path) -> tuple[ModuleType, ModuleType]:
  """(messages, services) of PROTO."""
  plugin = shutil.which("grpc_python_plugin")
  if plugin is None or shutil.which("protoc") is None:
    sys.exit("protoc and grpc_python_plugin are needed: install protobuf-compiler and "
             "protobuf-compiler-grpc")
  with tempfile.TemporaryDirectory() as out:
    subprocess.run(["protoc", f"-I{proto_root}", f"--python_out={out}", f"--grpc_python_out={out}",
                    f"--plugin=protoc-gen-grpc_python={plugin}", PROTO], check=True)
    sys.path.insert(0, out)
    try:
      return (importlib.import_module("quire.v1.inference_pb2"),
              importlib.import_module("quire.v1.inference_pb2_grpc"))
    finally:
      sys.path.remove(out)


class ServerAnswerer:
  """Owns one channel without TLS; each call is one request, read to its end."""

  def __init__(self, address: str, proto_root: pathlib.Path, max_new_tokens: int):
    self._messages, services = generate_stubs(proto_root)
    self._stub = services.InferenceServiceStub(grpc.insecure_channel(address))
    self._max_new_tokens = max_new_tokens

  def __call__(self, prompt: str) -> str:
    request = self._messages.GenerateRequest(text=prompt, max_tokens=self._max_new_tokens,
                                             temperature=0.0)
    return "".join(reply.text for reply in self._stub.Generate(request, timeout=DEADLINE_SECONDS))
