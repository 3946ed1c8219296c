"""Plants bugs in a copy of the sources, one at a time, and sees whether the tests notice.

What tests/kernels/cuda/seeded_bugs.py and tests/sim/seeded_bugs.py share. A file of bugs says of each:

  [name]
  file: from the root of the repository
  by: stranger (who had not seen the tests) or author (who had)
  breaks: what goes wrong
  expected: caught, or survives: why no test can or should see it
  <<<<           then the exact text, which occurs once in the file,
  ====           and what takes its place,
  >>>>           the end

Every bug is built and run by itself until a test binary fails. A bug that is not caught, or one that
was expected to survive and is caught, makes the exit status 1.
"""

import filecmp
import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import source_tree

BUG = re.compile(
    r"^\[(?P<name>[\w-]+)\]\nfile: (?P<file>.+)\nby: (?P<by>stranger|author)\n"
    r"breaks: (?P<breaks>.+)\nexpected: (?P<expected>caught|survives: .+)\n"
    r"<<<<\n(?P<old>(?:.*\n)+?)====\n(?P<new>(?:.*\n)*?)>>>>\n",
    re.MULTILINE,
)
TARGET = re.compile(r"^tests/(\w+): ", re.MULTILINE)


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


def load(path):
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


class Suite:
    """Some bugs and the tests that are to catch them.

    `order(file, test)` sorts the tests that a change of the file affects: the likeliest first.
    """

    def __init__(self, bugs, tests, flags, order):
        self.bugs = bugs
        self.tests = tests
        self.flags = flags
        self.order = order


class Tree:
    """A copy of the sources and one build of it."""

    def __init__(self, suite, folder, jobs, flags, tests):
        self.order = suite.order
        self.source = os.path.join(folder, "source")
        self.build = os.path.join(folder, "build")
        self.jobs = jobs
        for name in source_tree.files():
            to = os.path.join(self.source, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            original = os.path.join(source_tree.ROOT, name)
            # With the time of now, and only what differs: a folder that is used again may hold an
            # object with a bug, newer than the original, and a source that was written after it.
            if not os.path.exists(to) or not filecmp.cmp(original, to, shallow=False):
                shutil.copy(original, to)
        # A bug that is planted again is compiled already.
        self.env = {**os.environ, "CCACHE_BASEDIR": self.source, "CCACHE_NOHASHDIR": "1"}
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        self.run_checked(
            ["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DQUIRE_SERVER=OFF",
             "-DQUIRE_CUDA=OFF", "-DQUIRE_WERROR=OFF", "-DCMAKE_BUILD_TYPE=Release",
             f"-DCMAKE_CXX_FLAGS_RELEASE={flags}"] + launcher)
        targets = self.run_checked(["ninja", "-C", self.build, "-t", "targets", "all"])
        self.targets = sorted((name for name in TARGET.findall(targets) if re.fullmatch(tests, name)),
                              key=lambda name: self.order("", name))
        if not self.targets:
            raise Failure("found no tests")
        self.seconds = {}  # of a test without bugs

    def run(self, command, **options):
        return subprocess.run(command, capture_output=True, text=True, errors="replace",
                              env=self.env, **options)

    def run_checked(self, command):
        result = self.run(command)
        if result.returncode != 0:
            raise Failure((result.stdout + result.stderr)[-3000:])
        return result.stdout

    def make(self, target):
        result = self.run(["ninja", "-C", self.build, f"-j{self.jobs}", f"tests/{target}"])
        return result.returncode == 0, result.stdout

    def test(self, target):
        """What a test binary says: None if all is well, else who complained."""
        # Of the processor's time: a busy machine is no bug. What sleeps for ever is one.
        limit = int(max(60, 20 * self.seconds.get(target, 30)))
        command = [os.path.join(self.build, "tests", target), "--gtest_fail_fast",
                   "--gtest_brief=1"]
        try:
            result = self.run(
                command, cwd=self.build, timeout=5 * limit,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)))
        except subprocess.TimeoutExpired:
            return f"{target} (asleep for {5 * limit} s)"
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
        """The tests that would be built anew if the file changed, the likeliest first."""
        path = os.path.join(self.source, file)
        before = os.stat(path)
        os.utime(path)
        dirty = []
        for target in self.targets:
            plan = self.run_checked(["ninja", "-C", self.build, "-n", f"tests/{target}"])
            if "no work to do" not in plan:
                dirty.append(target)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return sorted(dirty, key=lambda target: self.order(file, target))

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
    print(f"{len(bugs)} bugs: {counts['caught']} caught, {counts['survived']} survive as expected, "
          f"{counts['unexpected']} unexpected")
    return counts["unexpected"] == 0


def main(suite, description):
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="bugs whose name contains this (may be given several times)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--flags", default=suite.flags,
                        help="for the compiler (default: %(default)s)")
    parser.add_argument("--tests", default=suite.tests, metavar="REGEX",
                        help="test binaries to run (default: %(default)s)")
    parser.add_argument("--folder", help="where to build and to leave it (default: a temporary one)")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    try:
        bugs = load(suite.bugs)
        if options.only:
            bugs = [bug for bug in bugs if any(part in bug.name for part in options.only)]
        for bug in bugs:
            planted(bug, source_tree.ROOT)
        if options.list:
            for bug in bugs:
                print(f"{bug.name} ({bug.file}, by {bug.by}): {bug.breaks}; {bug.expected}")
            return 0
        with tempfile.TemporaryDirectory(prefix="seeded_bugs") as temporary:
            folder = os.path.abspath(options.folder or temporary)
            tree = Tree(suite, folder, options.jobs, options.flags, options.tests)
            return 0 if run(bugs, tree) else 1
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
