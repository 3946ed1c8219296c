"""The image of the Dockerfile, built and run without a container engine.

Proves: the packages of deploy/install_deps.sh are enough to configure the build in a fresh system,
with every file that the build needs; the runtime stage, with the programs of this build in the
place of the stage `build`, has every library they need, and serves, is healthy and ends as its
metadata say, read-only, without capabilities, within the memory that compose gives it.

Does not prove: that the stage `build` compiles (the same sources were just compiled outside, with
the same packages), nor anything of GRPC_VERSION or CUDA=1 or of a registry's base image.
"""

import os
import pathlib
import sys
import tempfile
import unittest

import containers

STORY = """Story: In the red box 7 green pears lie. Nora went to the harbour. Hugo likes owls.
Q: What is in the red box?
A:"""
MEMORY = 1 << 30  # mem_limit of deploy/compose.yaml
DRAIN_SECONDS = 35  # --drain-timeout, and the time in which streams flush


class RuntimeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        containers.make_base()
        programs = pathlib.Path(os.environ["QUIRE_SERVER"]).parent
        with tempfile.TemporaryDirectory() as folder:
            containers.output(str(containers.ROOT / "deploy/collect_runtime.sh"), str(programs),
                              f"{folder}/out")
            cls.image = containers.build("runtime", "--build-context", f"build={folder}")
        cls.addClassCleanup(containers.buildah, "rmi", cls.image)
        cls.files = containers.Files(cls.image)
        cls.addClassCleanup(cls.files.remove)

    def test_it_serves_is_healthy_and_drains(self):
        config = self.files.config
        container = containers.Container(self.files, MEMORY)
        self.addCleanup(container.remove)
        self.assertIn("0.0.0.0:50051", container.log_line("listening on "))
        self.assertEqual(container.execute("id", "-u").strip(), "10001")
        self.assertEqual(config["Healthcheck"]["Test"][0], "CMD")
        self.assertEqual(container.execute(*config["Healthcheck"]["Test"][1:]), "SERVING\n")
        answer = container.execute("quire", "generate", "--server", "127.0.0.1:50051",
                                   "--max-tokens", "64", "--temperature", "0", STORY)
        self.assertIn("7 green pears", answer)
        self.assertEqual(container.stop(config["StopSignal"], DRAIN_SECONDS), 0)

    def test_its_health_check_fails_where_no_server_is(self):
        with self.assertRaisesRegex(AssertionError, "exit code 1"):
            self.files.run("/usr/local/bin/quire", "health", "--server", "127.0.0.1:1")

    def test_it_has_no_package_lists_and_no_compiler(self):
        self.assertEqual(list((self.files.path / "var/lib/apt/lists").iterdir()), [])
        self.assertFalse((self.files.path / "usr/bin/c++").exists())


class BuildStagesTest(unittest.TestCase):
    def test_a_fresh_system_has_what_the_build_needs(self):
        containers.make_base()
        image = containers.build("configured")
        self.addCleanup(containers.buildah, "rmi", image)
        files = containers.Files(image)
        self.addCleanup(files.remove)
        # A dry run fails on any input that is missing.
        commands = files.run("cmake", "--build", "build/release", "--target", "quire-server", "quire",
                             "--", "-n")
        self.assertIn("Linking CXX executable bin/quire-server", commands)
        files.run("cmake", "--build", "build/release", "--target", "quire_server_api_key")


if __name__ == "__main__":
    reason = containers.missing()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
