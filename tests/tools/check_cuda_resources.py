"""What nvcc made of the CUDA kernels: no kernel spills registers or has a stack, and registers are
those of tests/kernels/cuda/resources.txt where the compiler is the one the table is of.

  check_cuda_resources.py BUILD_DIR            compares
  check_cuda_resources.py BUILD_DIR --update   writes the table anew
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/kernels/cuda/resources.txt"
SKIPPED = 77

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def compiler_version(build):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("QUIRE_NVCC:") and not line.endswith("NOTFOUND"):
            nvcc = line.split("=", 1)[1]
            out = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
            return re.search(r"V([\d.]+)", out.stdout).group(1)
    return None


def readable(names):
    """Kernel classes of mangled RunOnGpu<...> functions."""
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                         check=True).stdout.splitlines()
    short = {}
    for name, full in zip(names, out):
        full = full.replace("quire::kernels::cuda::", "").replace("quire::kernels::", "")
        match = re.search(r"RunOnGpu<(.*)>\(", full)
        short[name] = (match.group(1) if match else full).strip()
    return short


def measured(build):
    """{(architecture, mangled name): [registers, stack, spilled]}"""
    logs = sorted((build / "kernels/cuda").rglob("*.ptxas"))
    kernels = {}
    for log in logs:
        current = None
        for line in log.read_text().splitlines():
            if match := ENTRY.search(line):
                current = kernels.setdefault((match.group(2), match.group(1)), [0, 0, 0])
            elif current is not None and (match := FRAME.search(line)):
                current[1:] = [int(match.group(1)), int(match.group(2)) + int(match.group(3))]
            elif current is not None and (match := REGISTERS.search(line)):
                current[0] = int(match.group(1))
    return kernels


def main():
    build = pathlib.Path(sys.argv[1])
    version = compiler_version(build)
    if version is None:
        print("cuda resources: skipped, this build has no CUDA back end")
        return SKIPPED
    kernels = measured(build)
    if not kernels:
        print("cuda resources: nothing of ptxas was recorded")
        return 1
    names = readable(sorted({name for _, name in kernels}))
    rows, wrong = [], 0
    for (arch, name), (registers, stack, spilled) in kernels.items():
        rows.append(f"{arch} {registers:3d} {names[name]}")
        if stack or spilled:
            print(f"{arch} {names[name]}: {stack} bytes of stack, {spilled} spilled")
            wrong += 1
    table = f"nvcc {version}: registers a thread\n" + "\n".join(
        sorted(rows, key=lambda row: (row[11:], row))) + "\n"
    if "--update" in sys.argv:
        TABLE.write_text(table)
    known = TABLE.read_text()
    if known.splitlines()[0] != table.splitlines()[0]:
        print(f"the table is of another compiler: {known.splitlines()[0]}")
    else:
        changed = set(table.splitlines()) ^ set(known.splitlines())
        for row in sorted(changed, key=lambda row: row[11:]):
            print(("new: " if row in table.splitlines() else "was: ") + row)
        if changed:
            print("look at what changed, then run this check with --update")
        wrong += len(changed)
    print(f"cuda resources of {len(rows)} kernels: {'ok' if not wrong else f'{wrong} violations'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
