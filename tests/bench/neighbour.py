"""What another process that never rests costs Quire: decode and prefill of the llama-3.2-1b shape
on all cores, with one of them shared with a busy loop, as a share of what they are without it.

    python3 tests/bench/neighbour.py [--quire-bench FILE] [--rounds N] [options of quire-bench step]

Rounds of both follow each other; what counts is the median of their ratios. Two minutes a round.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rates(bench, options):
    """Tokens a second, by phase."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        done = subprocess.run(
            [bench, "step", "--shape", "llama-3.2-1b", "--prompt", "512", "--batch", "1",
             "--context", "128", "--repeat", "10", "--json", report, *options],
            capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"quire-bench: {done.stderr}")
        return {result["phase"]: result["tokens_per_second"]
                for result in json.loads(report.read_text())["results"]}


def busy_loop(core):
    return subprocess.Popen([sys.executable, "-c", "while True: pass"],
                            preexec_fn=lambda: os.sched_setaffinity(0, {core}))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quire-bench", default=ROOT / "build/release/bin/quire-bench",
                        metavar="FILE", help="default: build/release/bin/quire-bench")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    arguments, options = parser.parse_known_args()
    shares = {"prefill": [], "decode": []}
    for number in range(arguments.rounds):
        alone = rates(arguments.quire_bench, options)
        neighbour = busy_loop(max(os.sched_getaffinity(0)))
        try:
            beside = rates(arguments.quire_bench, options)
        finally:
            neighbour.kill()
            neighbour.wait()
        for phase, found in shares.items():
            found.append(beside[phase] / alone[phase])
        print(f"round {number + 1}: " + ", ".join(
            f"{phase} {alone[phase]:.1f} tokens/s alone, {beside[phase]:.1f} beside"
            for phase in shares), file=sys.stderr)
    print("ratios " + " ".join(f"{phase}={statistics.median(found):.2f}"
                               for phase, found in shares.items()))


if __name__ == "__main__":
    main()
