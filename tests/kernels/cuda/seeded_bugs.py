#!/usr/bin/env python3
"""Plants the bugs of seeded_bugs.txt in a copy of the sources and sees whether the tests notice.

Every bug is built and run by itself, on the emulator, until a test binary fails. A bug that is not
caught, or one that was expected to survive and is caught, makes the exit status 1.

  seeded_bugs.py                      all of them (an hour or two)
  seeded_bugs.py --only softcap       those whose names contain "softcap"
  seeded_bugs.py --list               what there is; checks that each text occurs once
"""

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
BUGS = os.path.join(HERE, "seeded_bugs.txt")
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
import source_tree  # noqa: E402

BUG = re.compile(
    r"^\[(?P<name>[\w-]+)\]\nfile: (?P<file>.+)\nby: (?P<by>stranger|author)\n"
    r"breaks: (?P<breaks>.+)\nexpected: (?P<expected>caught|survives: .+)\n"
    r"<<<<\n(?P<old>(?:.*\n)+?)====\n(?P<new>(?:.*\n)*?)>>>>\n",
    re.MULTILINE,
)
TARGET = re.compile(r"^tests/(\w+): ", re.MULTILINE)
# What a family's sources are called, where not like its tests.
FAMILIES = {"kernels_cuda_rows": ("rows", "row_", "reduce", "words", "elementwise")}


class Failure(Exception):
    pass


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bug:
    def __init__(self, match):
        for key, value in match.groupdict().items():
            setattr(self, key, value)
        self.survives = self.expected.startswith("survives")


def load(path=BUGS):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    bugs = [Bug(match) for match in BUG.finditer(text)]
    headers = re.findall(r"^\[([\w-]+)\]$", text, re.MULTILINE)
    if [bug.name for bug in bugs] != headers:
        broken = set(headers) - {bug.name for bug in bugs}
        raise Failure(f"cannot read these bugs: {sorted(broken)}")
    if len(set(headers)) != len(headers):
        raise Failure("two bugs have the same name")
    return bugs


def planted(bug, root):
    """The file's text with the bug in it."""
    with open(os.path.join(root, bug.file), encoding="utf-8") as file:
        text = file.read()
    count = text.count(bug.old)
    # Whole lines, or, where the last is cut short, the begin of one.
    old, new = bug.old, bug.new
    if count == 0:
        old, new = old[:-1], new[:-1]
        count = text.count(old)
    if count != 1:
        raise Failure(f"{bug.name}: its text occurs {count} times in {bug.file}")
    return text.replace(old, new)


class Tree:
    """A copy of the sources and one build of it."""

    def __init__(self, folder, jobs, flags, tests):
        self.source = os.path.join(folder, "source")
        self.build = os.path.join(folder, "build")
        self.jobs = jobs
        for name in source_tree.files():
            to = os.path.join(self.source, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), to)
        self.run_checked(
            ["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DQUIRE_SERVER=OFF",
             "-DQUIRE_CUDA=OFF", "-DQUIRE_WERROR=OFF", "-DCMAKE_BUILD_TYPE=Release",
             f"-DCMAKE_CXX_FLAGS_RELEASE={flags}"])
        targets = self.run_checked(["ninja", "-C", self.build, "-t", "targets", "all"])
        # Kernels first: the model on the emulated GPU takes longest.
        self.targets = sorted((name for name in TARGET.findall(targets) if re.match(tests, name)),
                              key=lambda name: name.startswith("golden"))
        if not self.targets:
            raise Failure("found no tests")
        self.seconds = {}  # of a test without bugs

    @staticmethod
    def run_checked(command):
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if result.returncode != 0:
            raise Failure((result.stdout + result.stderr)[-3000:])
        return result.stdout

    def make(self, target):
        result = subprocess.run(["ninja", "-C", self.build, f"-j{self.jobs}", f"tests/{target}"],
                                capture_output=True, text=True, errors="replace")
        return result.returncode == 0, result.stdout

    def test(self, target):
        """What a test binary says: None if all is well, else who complained."""
        # Of the processor's time: a busy machine is no bug.
        limit = int(max(60, 20 * self.seconds.get(target, 30)))
        command = [os.path.join(self.build, "tests", target), "--gtest_fail_fast",
                   "--gtest_brief=1"]
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", cwd=self.build,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)))
        if result.returncode == 0:
            return None
        if result.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return f"{target} (no end after {limit} s)"
        failed = re.findall(r"^\[  FAILED  \] ([\w./]+)", result.stdout, re.MULTILINE)
        return f"{target}: {failed[0]}" if failed else f"{target} (exit {result.returncode})"

    def check_without_bugs(self):
        for target in self.targets:
            built, output = self.make(target)
            if not built:
                raise Failure(output[-3000:])
            begin = children_seconds()
            complaint = self.test(target)
            if complaint is not None:
                raise Failure(f"fails without any bug: {complaint}")
            self.seconds[target] = children_seconds() - begin
            print(f"without bugs: {target} passes in {self.seconds[target]:.1f} s", flush=True)

    def affected(self, file):
        """The tests that would be built anew if the file changed, its own family's first."""
        path = os.path.join(self.source, file)
        before = os.stat(path)
        os.utime(path)
        dirty = []
        for target in self.targets:
            plan = self.run_checked(["ninja", "-C", self.build, "-n", f"tests/{target}"])
            if "no work to do" not in plan:
                dirty.append(target)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        name = os.path.basename(file)

        def is_foreign(target):
            prefixes = FAMILIES.get(target, (target.removeprefix("kernels_cuda_"),))
            return not name.startswith(prefixes)

        return sorted(dirty, key=lambda t: (t.startswith("golden"), is_foreign(t)))

    def catch(self, bug, targets):
        """Who catches the bug; None if nobody does."""
        path = os.path.join(self.source, bug.file)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        changed = planted(bug, self.source)
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(changed)
            for target in targets:
                built, output = self.make(target)
                if not built:
                    raise Failure(f"{bug.name} does not compile: {output[-2000:]}")
                complaint = self.test(target)
                if complaint is not None:
                    return complaint
            return None
        finally:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


def run(bugs, tree):
    tree.check_without_bugs()
    affected = {file: tree.affected(file) for file in sorted({bug.file for bug in bugs})}
    counts = {"caught": 0, "survived": 0, "unexpected": 0}
    for bug in bugs:
        try:
            complaint = tree.catch(bug, affected[bug.file])
        except Failure as failure:
            counts["unexpected"] += 1
            print(f"{bug.name}: UNEXPECTED: {failure}", flush=True)
            continue
        outcome = "SURVIVED" if complaint is None else f"caught by {complaint}"
        if (complaint is None) != bug.survives:
            counts["unexpected"] += 1
            print(f"{bug.name}: UNEXPECTED: {outcome}; {bug.breaks}", flush=True)
            continue
        counts["survived" if bug.survives else "caught"] += 1
        reason = bug.expected[len("survives"):] if bug.survives else ""
        print(f"{bug.name}: {outcome}{reason}", flush=True)
    print(f"{counts['caught']} caught, {counts['survived']} survive as expected, "
          f"{counts['unexpected']} unexpected")
    return counts["unexpected"] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="bugs whose name contains this (may be given several times)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--flags", default="-O1", help="for the compiler (default: %(default)s)")
    parser.add_argument("--tests", default="(kernels|golden)_cuda_", metavar="REGEX",
                        help="test binaries to run (default: %(default)s)")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    try:
        bugs = load()
        if options.only:
            bugs = [bug for bug in bugs if any(part in bug.name for part in options.only)]
        for bug in bugs:
            planted(bug, ROOT)
        if options.list:
            for bug in bugs:
                print(f"{bug.name} ({bug.file}, by {bug.by}): {bug.breaks}; {bug.expected}")
            return 0
        with tempfile.TemporaryDirectory(prefix="seeded_bugs") as folder:
            return 0 if run(bugs, Tree(folder, options.jobs, options.flags, options.tests)) else 1
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
