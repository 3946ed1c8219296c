"""Runs what the README shows of the ways into a server, as it stands there."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

from certificates import Authority
from quire_server import TIMEOUT, QuireServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = 50051  # as the README has it
PLAIN, SECURE = f"127.0.0.1:{PORT}", f"HOST:{PORT}"


def blocks_of(section):
    """By its bold name, the indented blocks of each way."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = re.search(rf"^## {section}\n(.*?)^## ", text, re.M | re.S).group(1)
    ways, name, block = {}, None, []
    for line in body.splitlines() + ["end"]:
        if line.startswith("    ") or (not line and block):
            block.append(line[4:])
            continue
        if block:
            ways.setdefault(name, []).append("\n".join(block).strip())
            block = []
        if found := re.match(r"\*\*(.*?)\*\*", line):
            name = found.group(1)
    return ways


WAYS = blocks_of("Ways in")


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("proto", "deploy"):
            (self.folder / name).symlink_to(ROOT / name)
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "quire").symlink_to(os.environ["QUIRE_CLI"])
        stand_in = programs / "grpcurl"
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} '
                            f'{pathlib.Path(__file__).with_name("grpcurl_stand_in.py")} "$@"\n')
        stand_in.chmod(0o755)
        path = f"{programs}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path}

    def run_here(self, command):
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True,
                              text=True, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, script):
        return self.run_here(["bash", "-euc", script])

    def python(self, script):
        return self.run_here([sys.executable, "-c", script])

    def test_every_way_is_one_of_these(self):
        self.assertEqual(list(WAYS), ["Docker", "Command line", "grpcurl", "Python", "tritonclient",
                                      "TLS with keys"])

    def test_docker_says_the_port_that_the_image_has(self):
        """The image is built and run by tests/deploy."""
        self.assertIn(f"-p {PLAIN}:{PORT} quire", WAYS["Docker"][0])
        self.assertIn(f"EXPOSE {PORT}", (ROOT / "Dockerfile").read_text(encoding="utf-8"))

    def test_ways_into_a_plain_server(self):
        stubs, use = re.split(r"\n\n(?=import grpc)", WAYS["Python"][0])
        with QuireServer() as server:
            def here(text):
                return text.replace(PLAIN, server.address)

            self.assertTrue(self.shell(here(WAYS["Command line"][0])).strip())
            messages = re.findall(r'"text": (".*")', self.shell(here(WAYS["grpcurl"][0])))
            self.assertTrue("".join(map(json.loads, messages)))
            self.shell(stubs)
            self.assertTrue(self.python(here(use)).strip())
            self.assertTrue(self.python(here(WAYS["tritonclient"][0])).strip())

    def test_tls_with_keys(self):
        authority = self.enterContext(Authority())
        certificate, key = authority.issue("server", "IP:127.0.0.1")
        for file, name in [(certificate, "server.pem"), (key, "server.key"),
                           (authority.roots, "ca.pem")]:
            shutil.copy(file, self.folder / name)
        setup, python = WAYS["TLS with keys"]
        make, serve, use = re.search(r"(.*?)^(quire-server .*?) &\n(.*)", setup, re.M | re.S).groups()
        self.shell(make)
        flags = shlex.split(serve.replace("\\\n", "").replace(f"0.0.0.0:{PORT}", "0.0.0.0:0"))[1:]
        flags = [str(self.folder / flag) if (self.folder / flag).exists() else flag
                 for flag in flags]
        with QuireServer(*flags) as server:
            address = server.address.replace("0.0.0.0", "127.0.0.1")
            self.assertTrue(self.shell(use.replace(SECURE, address)).strip())
            self.shell(WAYS["Python"][0].split("\n\nimport grpc")[0])
            imports = "import grpc\nfrom quire.v1 import inference_pb2, inference_pb2_grpc\n"
            self.assertTrue(self.python(imports + python.replace(SECURE, address)).strip())


if __name__ == "__main__":
    unittest.main()
