"""Every path of ours that a document names exists, and the server's table of flags is complete.

Looks at what stands between backticks or in a link in Markdown files: a path from the root or from
the document's folder. First proves itself on planted documents.
"""

import os
import re
import sys

import source_tree

# What a path of ours starts with; build/ and made-up names are not checked.
_PATH = re.compile(r"^(core|deploy|kernels|proto|server|tests|\.ci)/[\w./-]*\w$")
_QUOTED = re.compile(r"`([^`\s]+)`|\]\(([^)#\s]+)[^)]*\)")


def violations(root):
    found = []
    for name in source_tree.files((".md",), root):
        for number, line in enumerate((source_tree.read(name, root) or "").splitlines(), 1):
            for quoted, linked in _QUOTED.findall(line):
                path = quoted or linked
                is_link = bool(linked) and "://" not in path
                if not is_link and not _PATH.match(path):
                    continue
                bases = (root, os.path.join(root, os.path.dirname(name)))
                if not any(os.path.exists(os.path.join(base, path)) for base in bases):
                    found.append(f"{name}:{number}: there is no {path}")
    return found


def flag_violations(root):
    code = source_tree.read("server/config.cc", root) or ""
    rows = re.findall(r"^\| `--.*? \|", source_tree.read("server/README.md", root) or "", re.MULTILINE)
    known = set(re.findall(r'["!](--[a-z-]+)[",]', code))
    listed = set(re.findall(r"`(--[a-z-]+)", " ".join(rows)))
    return ([f"server/README.md: the table of flags lacks {flag}" for flag in sorted(known - listed)] +
            [f"server/README.md: there is no {flag}" for flag in sorted(listed - known)])


def self_test():
    contents = {
        "core/kv/kv_layout.cc": "",
        "core/README.md": "`core/kv/kv_layout.cc` [a](kv/kv_layout.cc) `core/gone.cc` [b](gone.md)\n",
        "server/config.cc": 'Add("--a", x); Add("--b,!--no-b"); Error("--a: not --c");',
        "server/README.md": "| `--a N`, `--no-b` | 1 | not `--c` |\n| `--d` | | |\n",
        "README.md": "`build/release/bin` `quire/x` [c](https://example.com/a) `core/kv`\n",
    }
    with source_tree.PlantedTree(contents) as root:
        found = violations(root) + flag_violations(root)
    expected = ["core/README.md:1: there is no core/gone.cc", "core/README.md:1: there is no gone.md",
                "server/README.md: the table of flags lacks --b", "server/README.md: there is no --d"]
    return [] if found == expected else [f"self-test: found {found}"]


if __name__ == "__main__":
    root = source_tree.ROOT
    sys.exit(source_tree.report("docs", self_test() + violations(root) + flag_violations(root)))
