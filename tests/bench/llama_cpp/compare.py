"""Compares Quire with llama.cpp: see tests/bench/compare_llama_cpp.sh --help."""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys

import llama_cpp
import machine
import quiet
from quire import CHUNK, Quire
from work import LONG, SHORT, Failure, Parser, positive, progress

ROOT = pathlib.Path(__file__).resolve().parents[3]
PRECISIONS = ("bf16", *llama_cpp.QUANTIZED)
ABOUT = f"""Speed of Quire and of llama.cpp on this machine's CPU, in turns: the same random weights in the
shape of Llama 3.2 1B, the same number of threads, no server.

Prefill is of one prompt; decode is of steps of 1 to 32 sequences whose contexts grow from 128 to 192
tokens. llama.cpp comes from llama-cpp-python {llama_cpp.VERSION} (PyPI), built for this processor; flash
attention and ubatch are what a short try finds fastest for each measurement. Quire also chooses a
token in each step, which llama.cpp's benchmarks leave out.

For each precision the output ends with a verdict on the machine and Quire's speed as a multiple of
llama.cpp's, from medians over the rounds:

  verdict quiet
  ratios prefill512=R decode1=R decode8=R decode16=R decode32=R

The verdict is `not quiet: WHY` when in any run the host took over {100 * quiet.MOST_STEAL:.0f} % of the CPU time (steal),
other processes used over {100 * quiet.MOST_OTHERS:.0f} % of it, or tasks waited for a CPU in over {100 * quiet.MOST_PRESSURE:.0f} % of the time.
The ratios say little then: beside other work llama.cpp was seen to lose far more than its share."""


def chosen(text, known):
    found = text.split(",")
    for each in found:
        if each not in known:
            raise argparse.ArgumentTypeError(f"'{each}' is none of {', '.join(known)}")
    return found


def precisions(text):
    return list(dict.fromkeys(chosen(text, PRECISIONS)))


def names(text):
    return chosen(text, [work.name for work in SHORT + LONG])


def parse(arguments):
    parser = Parser(prog="compare_llama_cpp.sh", description=ABOUT)
    parser.add_argument("--quire-bench", type=pathlib.Path, metavar="FILE",
                        default=ROOT / "build/release/bin/quire-bench",
                        help="default: build/release/bin/quire-bench")
    parser.add_argument("--cache-dir", type=pathlib.Path, metavar="DIR",
                        default=ROOT / "build/llama_cpp",
                        help="for llama.cpp and the models, up to 6 GB; default: build/llama_cpp")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)),
                        metavar="N", help="of both; default: the cores that this process may use")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N",
                        help="of Quire and then llama.cpp, for each measurement; default: 3")
    parser.add_argument("--precision", type=precisions, default=["bf16"], metavar="LIST",
                        help="of bf16, int8 (llama.cpp: Q8_0) and int4 (Q4_0); default: bf16")
    parser.add_argument("--long", action="store_true",
                        help="also a prompt of 8192 tokens, and decode of 4 sequences behind it")
    parser.add_argument("--only", type=names, metavar="LIST",
                        help=f"of {', '.join(work.name for work in SHORT + LONG)}; default: all "
                        "but the last two, which --long adds")
    parser.add_argument("--require-quiet", action="store_true",
                        help="exit with 1 unless the verdict is `quiet` for each precision")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="also write everything measured to this file")
    return parser.parse_args(arguments)


class Comparison:
    """Of one precision."""

    def __init__(self, quire, peer, works, precision):
        self.quire, self.peer, self.works, self.precision = quire, peer, works, precision
        self.rates = {work.name: {quire.name: [], peer.name: []} for work in works}
        self.disturbances = {}  # of each run, by its name
        self.settings = {}

    def _watched(self, name, measure):
        before = quiet.snapshot()
        result = measure()
        self.disturbances[name] = quiet.disturbance(before, quiet.snapshot())
        return result

    def _one(self, engine, work, number, measure):
        rate = self._watched(f"{work.name} of {engine.name}, round {number}", measure)
        self.rates[work.name][engine.name].append(rate)
        progress(f"{self.precision} round {number}: {work.name} {engine.name} {rate:.1f} tokens/s")

    def run(self, rounds):
        ours, theirs = self.peer.random_model(), self.peer.model(self.precision)
        progress(f"{self.precision}: trying llama.cpp's settings")
        self.settings = self._watched("the choice of settings",
                                      lambda: self.peer.choose_settings(self.works, theirs))
        for number in range(1, rounds + 1):
            for work in self.works:
                self._one(self.quire, work, number,
                          lambda: self.quire.measure(work, ours, self.precision))
                self._one(self.peer, work, number,
                          lambda: self.peer.measure(work, theirs, self.settings[work.name]))

    def verdict(self):
        return quiet.verdict(self.disturbances)

    def medians(self, work):
        return [statistics.median(rates) for rates in self.rates[work.name].values()]

    def lines(self):
        yield f"{'precision ' + self.precision:16}{'Quire':>10}{'llama.cpp':>11}{'ratio':>8}   tokens/s"
        ratios = []
        for work in self.works:
            ours, theirs = self.medians(work)
            ratios.append(f"{work.name}={ours / theirs:.3f}")
            settings = llama_cpp.describe(self.settings[work.name])
            yield f"{work.name:16}{ours:10.1f}{theirs:11.1f}{ours / theirs:8.3f}   {settings}"
        yield f"verdict {self.verdict()}"
        yield "ratios " + " ".join(ratios)

    def report(self):
        measurements = []
        for work in self.works:
            ours, theirs = self.medians(work)
            measurements.append({
                "name": work.name, "quire_tokens_per_second": ours,
                "llama_cpp_tokens_per_second": theirs, "ratio": ours / theirs,
                "llama_cpp_settings": self.settings[work.name]._asdict(),
                "rounds": self.rates[work.name]})
        return {"precision": self.precision, "quiet": self.verdict() == "quiet",
                "verdict": self.verdict(), "measurements": measurements,
                "disturbances": {name: dataclasses.asdict(each)
                                 for name, each in self.disturbances.items()}}


def show_setting(options, load, pressure):
    waited = "unknown" if pressure is None else f"{100 * pressure:.0f} %"
    print(f"cpu        {machine.model()}: {' '.join(machine.telling_flags())}")
    print(f"before     load average {load:.1f}, CPU pressure {waited}")
    print(f"llama.cpp  llama-cpp-python {llama_cpp.VERSION}, {' '.join(llama_cpp.CMAKE_OPTIONS[:2])}; "
          "no mmap, KV in F16, a KV stream for each sequence")
    print(f"both       llama-3.2-1b, random weights, {options.threads} threads, medians of "
          f"{options.rounds} rounds; Quire prefills in steps of {CHUNK}\n", flush=True)


def compare(options):
    load, pressure = quiet.now()
    quire = Quire(options.quire_bench, options.threads)
    for precision in options.precision:
        quire.check_precision(precision)
    peer = llama_cpp.LlamaCpp(options.cache_dir.resolve(), options.threads)
    peer.prepare(*llama_cpp.BENCHMARKS)
    show_setting(options, load, pressure)
    works = SHORT + (LONG if options.long else ())
    if options.only:
        works = tuple(work for work in SHORT + LONG if work.name in options.only)
    comparisons = []
    for precision in options.precision:
        comparison = Comparison(quire, peer, works, precision)
        comparison.run(options.rounds)
        print("\n".join(comparison.lines()), flush=True)
        comparisons.append(comparison.report())
    if options.json:
        options.json.write_text(json.dumps(
            {"cpu": machine.model(), "cpu_flags": machine.telling_flags(),
             "threads": options.threads, "llama_cpp_python": llama_cpp.VERSION,
             "load_average_before": load, "cpu_pressure_before": pressure,
             "precisions": comparisons}, indent=2) + "\n")
    return all(each["quiet"] for each in comparisons)


def main():
    options = parse(sys.argv[1:])
    try:
        was_quiet = compare(options)
    except (Failure, OSError) as error:
        sys.exit(f"compare_llama_cpp.sh: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if options.require_quiet and not was_quiet:
        sys.exit("compare_llama_cpp.sh: the machine was not quiet, as --require-quiet asks for")


if __name__ == "__main__":
    main()
