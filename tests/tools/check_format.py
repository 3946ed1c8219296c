"""clang-format 14 agrees with every C++ file. Skipped, and says so, where it is missing."""

import subprocess
import sys

import source_tree


def main():
    clang_format = source_tree.find_llvm_tool("clang-format")
    if clang_format is None:
        print("format: skipped, clang-format 14 is not installed: deploy/install_deps.sh --format")
        return source_tree.SKIPPED
    names = source_tree.files(source_tree.CPP_SUFFIXES)
    result = subprocess.run([clang_format, "--dry-run", "--Werror", *names],
                            cwd=source_tree.ROOT, capture_output=True, text=True)
    found = [line for line in result.stderr.splitlines() if ": error: " in line]
    if result.returncode != 0 and not found:
        found = [result.stderr]
    return source_tree.report(f"format of {len(names)} files", found)


if __name__ == "__main__":
    sys.exit(main())
