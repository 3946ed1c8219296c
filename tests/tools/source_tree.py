"""The repository's files as the checks in this folder see them."""

import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77  # the SKIP_RETURN_CODE of these checks in CTest

LLVM_VERSION = "14"  # Debian 12's; others format and warn differently
CPP_SUFFIXES = (".h", ".cc", ".cu", ".cuh")
_INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
_UNSEEN_FOLDERS = {".git", "build", "__pycache__"}


def _listed_by_git(root):
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        result = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no repository: an unpacked archive
    return [name for name in result.stdout.decode().split("\0") if name]


def _listed_by_walking(root):
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _UNSEEN_FOLDERS]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def files(suffixes=None, root=ROOT):
    """Sorted paths from the root of what belongs to the repository and exists."""
    names = _listed_by_git(root) or _listed_by_walking(root)
    return sorted(
        name
        for name in set(names)
        if (suffixes is None or name.endswith(suffixes)) and os.path.isfile(os.path.join(root, name))
    )


def read(name, root=ROOT):
    """A file's text, or None where it is not text."""
    with open(os.path.join(root, name), "rb") as file:
        content = file.read()
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def includes(text):
    """Yields (line number, is a quoted include, path) of a C++ file's includes."""
    for number, line in enumerate(text.splitlines(), 1):
        match = _INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def find_llvm_tool(name):
    """The tool's path in the version whose output the sources agree with, or None."""
    for candidate in (f"{name}-{LLVM_VERSION}", name):
        path = shutil.which(candidate)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if f"version {LLVM_VERSION}." in version:
                return path
    return None


class PlantedTree:
    """A throw-away tree of files, with which a check proves that it finds what it looks for."""

    def __init__(self, contents):
        self._contents = contents

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        for name, text in self._contents.items():
            path = os.path.join(self._folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        return self._folder.name

    def __exit__(self, *exception):
        self._folder.cleanup()


def report(title, violations):
    """Prints each violation and returns the exit status."""
    for violation in violations:
        print(violation)
    print(f"{title}: {len(violations)} violations" if violations else f"{title}: ok")
    return 1 if violations else 0
