"""clang-tidy over the product's sources, in parallel.

usage: check_tidy.py BUILD_DIR [--budget SECONDS] [FILE...]

Works from BUILD_DIR/compile_commands.json. A file that passed is not looked at again until it, a
header of ours that it reaches, the configuration or its compile command changes (BUILD_DIR/tidy).
Once the budget is spent no further file is started: those left over are listed and the check fails,
so that the budget can never hide a file. Skipped, and says so, without clang-tidy 14.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time

import source_tree

CHECKED_FOLDERS = ("core/", "kernels/", "server/")
# GCC's own flags that clang would warn about.
CLANG_ARGUMENTS = ("-Wthread-safety", "-Wno-unknown-warning-option", "-Wno-unused-command-line-argument")

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


class Checker:
    def __init__(self, clang_tidy, build_dir, commands, deadline):
        self._clang_tidy = clang_tidy
        self._build_dir = build_dir
        self._commands = commands
        self._deadline = deadline
        self._passed_dir = os.path.join(build_dir, "tidy")
        os.makedirs(self._passed_dir, exist_ok=True)

    def check(self, name):
        """Returns (name, outcome, output); outcome is passed, failed or not started."""
        mark = os.path.join(self._passed_dir, fingerprint(name, self._commands[name]))
        if os.path.exists(mark):
            return name, "passed", ""
        if time.monotonic() > self._deadline:
            return name, "not started", ""
        extra = [f"--extra-arg={argument}" for argument in CLANG_ARGUMENTS]
        result = subprocess.run(
            [self._clang_tidy, "-p", self._build_dir, "--quiet", *extra, name],
            cwd=source_tree.ROOT, capture_output=True, text=True)
        if result.returncode == 0:
            open(mark, "w").close()
            return name, "passed", ""
        return name, "failed", result.stdout or result.stderr


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
        for name, outcome, output in pool.map(checker.check, names):
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
