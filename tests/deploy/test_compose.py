"""deploy/compose.yaml and the Dockerfile, read without an engine: what they name exists, what they
pass to the server is valid, and nothing is reachable from outside."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# A tag that says a version to the patch, of an image that is not built here.
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$")
LOOPBACK_PORT = re.compile(r"^127\.0\.0\.1:\d+:\d+$")


def instruction(name):
    """The arguments of the Dockerfile's last instruction of a name, in its JSON form."""
    joined = DOCKERFILE.replace("\\\n", "")
    return json.loads(re.findall(rf"^\s*{name} +(\[.*\])$", joined, re.MULTILINE)[-1])


def check_config(flags):
    """Whether the server accepts the flags, with the image's model where it lies here."""
    flags = [flag.replace("/models/quire-demo", os.environ["QUIRE_MODEL"]) for flag in flags]
    done = subprocess.run([os.environ["QUIRE_SERVER"], "--check-config", *flags],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


class ComposeTest(unittest.TestCase):
    def test_the_server_accepts_its_flags(self):
        self.assertEqual(check_config(SERVICES["quire"]["command"])[0], 0)
        code, error = check_config([*SERVICES["quire"]["command"], "--no-such-flag"])
        self.assertEqual(code, 1, error)

    def test_images_are_pinned(self):
        for name, service in SERVICES.items():
            if "build" in service:
                context = ROOT / "deploy" / service["build"]
                self.assertTrue((context / "Dockerfile").is_file())
            else:
                self.assertRegex(service["image"], PINNED, name)

    def test_what_is_mounted_exists_and_is_not_written_to(self):
        for name, service in SERVICES.items():
            for volume in service.get("volumes", []):
                source, _, *mode = volume.split(":")
                if source in COMPOSE["volumes"]:
                    continue
                self.assertTrue((ROOT / "deploy" / source).exists(), volume)
                self.assertEqual(mode, ["ro"], volume)

    def test_ports_are_published_on_loopback_alone(self):
        for name, service in SERVICES.items():
            self.assertNotIn("network_mode", service)
            for port in service["ports"]:
                self.assertRegex(port, LOOPBACK_PORT, name)

    def test_no_service_may_more_than_it_needs(self):
        for name, service in SERVICES.items():
            self.assertIs(service["read_only"], True, name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertIn("mem_limit", service)
            self.assertFalse({"privileged", "cap_add", "user", "pid", "ipc"} & service.keys(), name)

    def test_who_waits_for_whom_can_be_told_healthy(self):
        for service in SERVICES.values():
            for name, wait in service.get("depends_on", {}).items():
                self.assertEqual(wait, {"condition": "service_healthy"})
                self.assertEqual(SERVICES[name]["healthcheck"]["test"][0], "CMD")

    def test_the_server_has_the_time_to_drain(self):
        table = (ROOT / "server/README.md").read_text()
        drain = int(re.search(r"`--drain-timeout` \| (\d+)s", table)[1])
        grace = int(SERVICES["quire"]["stop_grace_period"].removesuffix("s"))
        self.assertGreaterEqual(grace, drain + 5)


class DockerfileTest(unittest.TestCase):
    def test_the_server_accepts_the_flags_of_cmd(self):
        self.assertEqual(check_config(instruction("CMD"))[0], 0)

    def test_compose_runs_and_checks_what_the_image_does(self):
        quire = SERVICES["quire"]
        flags = shlex.split(" ".join(quire["command"]).replace("=", " "))
        self.assertEqual(flags, instruction("CMD"))
        health = re.search(r"HEALTHCHECK .*\\\n +CMD (\[.*\])", DOCKERFILE)[1]
        self.assertEqual(quire["healthcheck"]["test"], ["CMD", *json.loads(health)])


if __name__ == "__main__":
    unittest.main()
