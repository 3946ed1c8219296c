"""Nothing in the repository depends on one machine or hides a test.

No absolute paths of a person's machine, no fixed scratch files, no disabled tests, no sleeping in
tests. First proves itself on planted files.
"""

import re
import sys

import source_tree

# (what it is, where to look, pattern). The patterns are written so as not to find themselves.
RULES = (
    ("a path of one machine", "", re.compile(r"(?<![\w.])/(home|Users|work|root)/\w")),
    ("a fixed scratch file; ask for a fresh one", "", re.compile(r"(?<![\w.:}])/tm[p]/\w")),
    ("a disabled test", "tests/", re.compile(r"DISABLE[D]_|unittest\.ski[p]\b|mark\.ski[p]\b")),
    ("sleeping in a test", "tests/",
     re.compile(r"\bsleep_fo[r]\b|\bsleep_unti[l]\b|SleepFo[r]\b|\buslee[p]\(|time\.slee[p]\(")),
    ("a fixed port in a test", "tests/e2e/", re.compile(r"(localhost|127\.0\.0\.1|\[::1?\]):[1-9]\d{3}")),
)

UNCHECKED = ("LICENSE", "tests/tools/check_no_paths.py")


def violations(root):
    found = []
    for name in source_tree.files(root=root):
        text = None if name in UNCHECKED else source_tree.read(name, root)
        for number, line in enumerate((text or "").splitlines(), 1):
            for what, where, pattern in RULES:
                if name.startswith(where) and pattern.search(line):
                    found.append(f"{name}:{number}: {what}: {line.strip()[:120]}")
    return found


def self_test():
    planted = {
        "deploy/a.sh": "cd /home/me/quire\n",
        "core/a.cc": 'open("/tmp/quire.log");\n',
        "tests/a_test.cc": "TEST(A, DISABLED_Works) {}\n",
        "tests/b_test.py": "time.sleep(1)\n",
        "tests/c_test.cc": "std::this_thread::sleep_for(1ms);\n",
        "tests/e2e/d_test.py": 'connect("127.0.0.1:50051")\n',
    }
    fine = {
        "README.md": "https://example.com/work/x and build/release/tmp/x, port 127.0.0.1:50051\n",
        "tests/e2e/e_test.py": 'connect("127.0.0.1:0")\n',
    }
    with source_tree.PlantedTree({**planted, **fine}) as root:
        found = [violation.split(":")[0] for violation in violations(root)]
    return [f"self-test: {name}: found {found.count(name)} times"
            for name in sorted(set(planted) | set(found)) if found.count(name) != (name in planted)]


if __name__ == "__main__":
    sys.exit(source_tree.report("paths", self_test() + violations(source_tree.ROOT)))
