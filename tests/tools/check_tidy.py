"""clang-tidy over the product's sources, in parallel.

usage: check_tidy.py BUILD_DIR [--budget SECONDS] [FILE...]

Works from BUILD_DIR/compile_commands.json. Files of a folder that are compiled with the same flags
are looked at a few at a time, as one translation unit, since most of the time goes into headers;
those that do not go together, or that something is found in, are then taken apart. A file that passed is not looked at again until it, a
header of ours that it reaches, the configuration or its compile command changes (BUILD_DIR/tidy).
Once the budget is spent no further file is started: those left over are listed and the check fails,
so that the budget can never hide a file. Skipped, and says so, without clang-tidy 14.
"""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time

import source_tree

CHECKED_FOLDERS = ("core/", "kernels/", "server/")
# GCC's own flags that clang would warn about.
CLANG_ARGUMENTS = ("-Wthread-safety", "-Wno-unknown-warning-option", "-Wno-unused-command-line-argument")

# Of what a translation unit includes, the files to report on: .clang-tidy has the headers alone.
REPORTED_FILES = r"/(core|kernels|server)/[^:]*\.(h|cc)$"
MOST_TOGETHER = 8

_DIAGNOSTIC = re.compile(r": (error|warning): ")


def compile_commands(build_dir):
    """Source path from the root -> its compile command."""
    with open(os.path.join(build_dir, "compile_commands.json")) as file:
        entries = json.load(file)
    commands = {}
    for entry in entries:
        name = os.path.relpath(os.path.join(entry["directory"], entry["file"]), source_tree.ROOT)
        commands.setdefault(name, entry["command"])
    return commands


def reached_files(name):
    """`name` and every file of the repository that it includes, directly or not."""
    reached, pending = set(), [name]
    while pending:
        current = pending.pop()
        if current in reached or not os.path.isfile(os.path.join(source_tree.ROOT, current)):
            continue
        reached.add(current)
        includes = source_tree.includes(source_tree.read(current) or "")
        pending.extend(path for _, quoted, path in includes if quoted)
    return sorted(reached)


def fingerprint(name, command):
    digest = hashlib.sha256(command.encode())
    for path in [".clang-tidy", *reached_files(name)]:
        digest.update(path.encode())
        digest.update((source_tree.read(path) or "").encode())
    return digest.hexdigest()


def compile_flags(command):
    """A compile command without the compiler, its launcher, and what names the source and output."""
    words = shlex.split(command)
    flags = words[next(i for i, word in enumerate(words) if word.startswith("-")):]
    kept, skipped = [], {"-o": 1, "-c": 1, "-MF": 1, "-MT": 1, "-MD": 0}
    at = 0
    while at < len(flags):
        if flags[at] in skipped:
            at += 1 + skipped[flags[at]]
            continue
        kept.append(flags[at])
        at += 1
    return tuple(kept)


class Checker:
    def __init__(self, clang_tidy, build_dir, commands, deadline):
        self._clang_tidy = clang_tidy
        self._commands = commands
        self._deadline = deadline
        self._passed_dir = os.path.join(build_dir, "tidy")
        os.makedirs(self._passed_dir, exist_ok=True)

    def groups(self, names):
        """Those of the names that have not passed as they are, a few at a time."""
        alike = {}
        for name in names:
            if not os.path.exists(self._mark(name)):
                key = os.path.dirname(name), compile_flags(self._commands[name])
                alike.setdefault(key, []).append(name)
        for files in alike.values():
            count = -(-len(files) // MOST_TOGETHER)
            for first in range(count):
                yield files[first::count]

    def check(self, names):
        """A list of (name, outcome, output); outcome is passed, failed or not started."""
        if time.monotonic() > self._deadline:
            return [(name, "not started", "") for name in names]
        result = self._run(names)
        if result.returncode == 0:
            for name in names:
                open(self._mark(name), "w").close()
            return [(name, "passed", "") for name in names]
        if len(names) == 1:
            return [(names[0], "failed", result.stdout or result.stderr)]
        half = len(names) // 2
        return self.check(names[:half]) + self.check(names[half:])

    def _mark(self, name):
        return os.path.join(self._passed_dir, fingerprint(name, self._commands[name]))

    def _run(self, names):
        source = os.path.join(source_tree.ROOT, names[0])
        if len(names) > 1:
            source = os.path.join(self._passed_dir, names[0].replace("/", "_"))
            with open(source, "w") as file:
                file.writelines(f'#include "{name}"\n' for name in names)
        config = os.path.join(source_tree.ROOT, ".clang-tidy")
        return subprocess.run(
            [self._clang_tidy, "--quiet", f"--config-file={config}",
             f"--header-filter={REPORTED_FILES}", "--checks=-bugprone-suspicious-include", source, "--",
             *compile_flags(self._commands[names[0]]), *CLANG_ARGUMENTS],
            cwd=source_tree.ROOT, capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build_dir")
    parser.add_argument("--budget", type=float, default=1200)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    clang_tidy = source_tree.find_llvm_tool("clang-tidy")
    if clang_tidy is None:
        print("tidy: skipped, clang-tidy 14 is not installed: deploy/install_deps.sh --format")
        return source_tree.SKIPPED
    commands = compile_commands(arguments.build_dir)
    names = arguments.files or [n for n in source_tree.files((".cc",)) if n.startswith(CHECKED_FOLDERS)]
    names = [name for name in names if name in commands]
    start = time.monotonic()
    checker = Checker(clang_tidy, arguments.build_dir, commands, start + arguments.budget)
    found = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        checked = pool.map(checker.check, list(checker.groups(names)))
        for name, outcome, output in itertools.chain.from_iterable(checked):
            lines = []
            if outcome == "failed":
                lines = [line for line in output.splitlines() if _DIAGNOSTIC.search(line)]
                lines = lines or [f"{name}: {output}"]
            elif outcome == "not started":
                lines = [f"{name}: not checked within {arguments.budget:.0f} s"]
            for line in sorted(set(lines) - found):  # a header's shows up in each of its users
                print(line, flush=True)
            found.update(lines)
    print(f"tidy of {len(names)} files in {time.monotonic() - start:.0f} s: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
