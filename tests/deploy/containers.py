"""Builds images and runs containers without a container engine: mmdebstrap makes the base, buildah
builds, runc runs. Needs root.

The environment says where everything is kept: QUIRE_IMAGES. A base and downloaded packages stay
there for the next time.
"""

import functools
import json
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ["QUIRE_IMAGES"])
BASE = "localhost/quire-base"
# Each step has an end, so that a test fails rather than hangs.
TIMEOUT = 600


def missing():
    """Why no image can be built here, or None."""
    if os.geteuid() != 0:
        return "building an image without an engine needs root"
    for tool in ("mmdebstrap", "buildah", "runc"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (deploy/install_deps.sh --test)"
    return _refused()


def _refused():
    """Why this system, which may be a container itself, lets none run: tried with a program of its
    own."""
    with tempfile.TemporaryDirectory() as folder:
        output("runc", "spec", cwd=folder)
        path = pathlib.Path(folder, "config.json")
        spec = json.loads(path.read_text())
        spec["process"].update({"terminal": False, "args": ["true"]})
        spec["root"] = {"path": "root", "readonly": False}
        (path.parent / "root").mkdir()
        spec["mounts"] += [{"destination": each, "source": each, "type": "bind",
                            "options": ["rbind", "ro"]}
                           for each in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(each)]
        spec["linux"]["resources"]["memory"] = {"limit": 1 << 28}
        path.write_text(json.dumps(spec))
        try:
            output("runc", "--root", f"{folder}/state", "run", "--bundle", folder,
                   pathlib.Path(folder).name, stdin=subprocess.DEVNULL)
        except AssertionError as error:
            return f"no container can run here: {error}"
    return None


def output(*command, **options):
    """What a command printed, which must have worked."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def _with_driver(driver, *arguments):
    folder = FOLDER / driver
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return output("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"),
                  "--storage-driver", driver, *arguments,
                  env={**os.environ, "TMPDIR": str(folder / "tmp")})


@functools.cache
def _driver():
    """overlay; where the file system cannot have it vfs, which copies every layer."""
    try:
        _with_driver("overlay", "info")
        return "overlay"
    except AssertionError:
        return "vfs"


def buildah(*arguments):
    return _with_driver(_driver(), *arguments)


def make_base():
    """An image of this machine's own release, whose programs then run in it."""
    if buildah("images", "--quiet", "--filter", f"reference={BASE}").strip():
        return
    sources = next(path for path in ("/etc/apt/sources.list.d/debian.sources",
                                     "/etc/apt/sources.list.d/ubuntu.sources",
                                     "/etc/apt/sources.list") if os.path.exists(path))
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        output("mmdebstrap", "--variant=apt", "--dpkgopt=force-unsafe-io",
               platform.freedesktop_os_release()["VERSION_CODENAME"], f"{folder}/base.tar", sources)
        pathlib.Path(folder, "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        buildah("bud", "--tag", BASE, folder)


def build(target, *arguments):
    """Builds a stage of the Dockerfile on that base; returns the image."""
    image = f"localhost/quire-test-{target}"
    buildah("bud", "--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={BASE}",
            "--target", target, "--tag", image, *arguments, str(ROOT))
    return image


class Files:
    """An image's files, with what is written beside them, and its configuration."""

    def __init__(self, image):
        self.name = buildah("from", image).strip()
        self.path = pathlib.Path(buildah("mount", self.name).strip())
        self.config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]

    def run(self, *command):
        """Runs a command as while building; returns what it printed."""
        return buildah("run", "--isolation", "chroot", self.name, "--", *command)

    def remove(self):
        buildah("rm", self.name)


class Container:
    """A running container of an image: read-only, without capabilities and with a network of its
    own, in which nothing else is."""

    def __init__(self, files, memory_bytes):
        self.folder = tempfile.TemporaryDirectory()
        self.id = pathlib.Path(self.folder.name).name
        self._write_bundle(files, memory_bytes)
        self.log = []
        self._logged = threading.Condition()
        self.process = subprocess.Popen([*self._runc(), "run", "--bundle", self.folder.name, self.id],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _runc(self):
        return ["runc", "--root", f"{self.folder.name}/state"]

    def _write_bundle(self, files, memory_bytes):
        output("runc", "spec", cwd=self.folder.name)
        path = pathlib.Path(self.folder.name, "config.json")
        spec = json.loads(path.read_text())
        config = files.config
        user, group = map(int, config["User"].split(":"))
        spec["process"].update({
            "terminal": False, "user": {"uid": user, "gid": group}, "noNewPrivileges": True,
            "args": config["Entrypoint"] + config["Cmd"], "env": config["Env"],
            "cwd": config.get("WorkingDir") or "/", "capabilities": {}})
        del spec["process"]["rlimits"]  # keeps those of the test
        spec["root"] = {"path": str(files.path), "readonly": True}
        spec["linux"]["resources"]["memory"] = {"limit": memory_bytes}
        path.write_text(json.dumps(spec))

    def _read_log(self):
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()
        with self._logged:
            self.log.append(None)
            self._logged.notify_all()

    def log_line(self, text):
        """Waits for a line of the log and returns it."""
        def found():
            return any(line is None or text in line for line in self.log)

        with self._logged:
            self._logged.wait_for(found, TIMEOUT)
            line = next((line for line in self.log if line is not None and text in line), None)
            assert line, f"never logged {text!r}: {self.log}"
            return line

    def execute(self, *command):
        """Runs a command in the container, as its user; returns what it printed."""
        return output(*self._runc(), "exec", self.id, *command)

    def stop(self, signal, timeout):
        """Sends the signal and returns the exit code, which must come within the time."""
        output(*self._runc(), "kill", self.id, signal)
        code = self.process.wait(timeout)
        self._reader.join()
        self.process.stderr.close()
        return code

    def remove(self):
        if self.process.poll() is None:
            output(*self._runc(), "kill", self.id, "KILL")
            self.process.wait(TIMEOUT)
        self.folder.cleanup()
