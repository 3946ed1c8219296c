"""How far `quire-bench fleet --replicas 1` is from a server that runs: the same loads on both, and
predicted by measured. Within 10 % is what is asked for.

    python3 tests/bench/fleet_prediction.py [--model DIR] [--cpu-tier portable] [--seconds 30]

First one stream alone tells what a step takes besides computing (--overhead-us of `quire-bench
fleet`); all else follows from that and from steps measured without a server.

Loads: an open loop at half and at 90 % of what the server can do, and a closed loop; each with and
without a prefix that all prompts share. A server starts anew for each, with an empty KV cache. Near
its limit a queue makes many percent of waiting out of a few of speed, so there what counts is which
load has that wait on paper, to the one that was offered. Of later tokens the mean counts: at half
the limit the median falls between answers that a prompt held up and those that none did, and 5 %
of speed moves it by 14 %, the mean by 10 %, the first token by 7 %.

The server computes with one thread and the steps are measured with one, before and after each run,
so the client, gRPC and what hands tokens out have the other core. A message costs them about 30 us,
so a model is to be measured whose steps bring less than some 10,000 tokens a second: a tiny one as
--cpu-tier portable computes it (the default), or any of the usual size as it is. What disturbs a
run is told, and the run repeated. Ten minutes or more.

Meanwhile a process of idle priority on each core keeps it from going to sleep between requests
(--may-sleep leaves that out): a core of a virtual machine that has slept computes up to a half
slower for some ms, whatever runs on it, which would be measured along with the server.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 900
QUIET_CORES = 0.1  # that others may use while something is measured
STEADY_DRIFT = 0.03  # of the time of a step, from before a run to after it
RESULTS = ("ttft_seconds_p50", "ttft_seconds_p90", "per_token_seconds_p50",
           "per_token_seconds_mean", "output_tokens_per_second", "prefix_hit_ratio",
           "step_seconds_mean")
JUDGED = {"prefix_hit_ratio", "output_tokens_per_second"}
JUDGED_BELOW_THE_LIMIT = JUDGED | {"ttft_seconds_p50", "per_token_seconds_mean"}


class Server:
    """A quire-server; as a context manager it is ended and waited for."""

    def __init__(self, program, options):
        command = [program, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE,
                                        text=True)
        self.address = self.metrics = None
        for line in self.process.stderr:
            if found := re.search(r"metrics on (\S+)", line):
                self.metrics = found.group(1)
            if found := re.search(r"listening on (\S+)", line):
                self.address = found.group(1)
                return
        sys.exit("the server did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT_SECONDS)

    def counters(self):
        """A function: the sum of a metric's samples, those with a label or all."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.metrics, timeout=TIMEOUT_SECONDS) as reply:
            lines = reply.read().decode().splitlines()
        samples = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
        return lambda name, label="": sum(
            float(value) for series, value in samples
            if series.split("{")[0] == name and label in series)


def run(command):
    """What the program wrote with --json."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        words = [str(word) for word in [*command, "--json", report]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not report.exists():
            sys.exit(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return json.loads(report.read_text())


def progress(text):
    print(text, file=sys.stderr, flush=True)


def busy_seconds():
    """Of all cores and processes since the machine began, and what its host took from it."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(value) / os.sysconf("SC_CLK_TCK") for value in stat.readline().split()[1:9]]
    user, nice, system, _, _, irq, soft_irq, steal = fields
    return user + nice + system + irq + soft_irq + steal


def own_seconds(pids):
    """Of those processes, and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = children.ru_utime + children.ru_stime
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


class Neighbours:
    """What others took of the machine since this was made, in cores."""

    def __init__(self, pids):
        self.pids, self.began = pids, time.monotonic()
        self.busy, self.own = busy_seconds(), own_seconds(pids)

    def cores(self):
        others = busy_seconds() - self.busy - (own_seconds(self.pids) - self.own)
        return others / (time.monotonic() - self.began)


class AwakeCores:
    """Keeps all cores awake, as a context manager; what has the usual priority gets them first."""

    # Ends with its parent, however that ends.
    SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"

    def __init__(self, wanted):
        self.cores = sorted(os.sched_getaffinity(0)) if wanted else []
        self.processes = []

    def __enter__(self):
        for core in self.cores:
            process = subprocess.Popen([sys.executable, "-c", self.SPIN])
            self.processes.append(process)
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setaffinity(process.pid, {core})
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def pids(self):
        return [process.pid for process in self.processes]


@dataclasses.dataclass
class Measurement:
    """A run of a load on a server, and what was predicted for it from steps measured before it and
    after it."""

    others: float  # cores
    report: dict
    counters: object
    times: list  # files with step times
    predictions: list
    fit_error: float
    drift: float  # of the time of a step, from before to after

    def disturbance(self):
        """Up to 1: as good as none."""
        return max(self.others / QUIET_CORES, self.drift / STEADY_DRIFT)

    def predicted(self, key):
        return statistics.mean(each[key] for each in self.predictions)


class Comparison:
    def __init__(self, arguments, awake):
        self.arguments, self.awake = arguments, awake
        self.model = ["--model", arguments.model, "--threads", 1, "--cpu-tier", arguments.cpu_tier]
        self.engine = ["--max-running", arguments.max_running, "--kv-memory", arguments.kv_memory]
        self.run = ["--seed", 7, "--warmup", 2, "--duration", arguments.seconds]
        self.overhead_us = 0.0
        self.folder = tempfile.TemporaryDirectory()
        self.files = 0

    def lengths(self, prefix):
        return ["--prompt-tokens", self.arguments.prompt_tokens, "--prompt-sigma", 0.6,
                "--output-tokens", self.arguments.output_tokens, "--output-sigma", 0.6,
                "--shared-prefix-tokens", prefix]

    def fleet(self, *options):
        return run([self.arguments.quire_bench, "fleet", *self.model, *self.engine, "--replicas", 1,
                    "--policy", "round-robin", *options])

    def measure_steps(self):
        """The file with the step times, and the median error of the fit."""
        self.files += 1
        file = pathlib.Path(self.folder.name) / f"times_{self.files}.json"
        report = self.fleet("--write-step-times", file, "--fit-seconds", self.arguments.fit_seconds,
                            "--concurrency", 1, "--duration", 1,
                            *self.lengths(self.arguments.prefix_tokens))
        return file, report["step_times"]["fit"]["error_median"]

    def predict(self, times, load):
        report = self.fleet("--step-times", times, "--overhead-us", f"{self.overhead_us:.1f}",
                            *self.run, *load)
        return report["results"][0]["mean"]

    def drift(self, times):
        """By a closed loop: in an open one a queue makes more of it."""
        load = ["--concurrency", self.arguments.streams, *self.lengths(0)]
        before, after = (self.predict(file, load)["step_seconds_mean"] for file in times)
        return abs(before / after - 1)

    def measure_overhead(self):
        """What a step takes in the server besides, out of a load with one stream alone. Returns
        the file with the step times."""
        load = ["--concurrency", 1, "--prompt-tokens", 64, "--output-tokens", 200]
        one_stream = self.measure("overhead", load)
        predicted = one_stream.predicted("per_token_seconds_p50")
        measured = one_stream.report["total"]["per_token_seconds"]["p50"]
        self.overhead_us = max(0.0, 1e6 * (measured - predicted))
        print(f"one stream: {1e3 * measured:.3f} ms a token, {self.overhead_us:.0f} us of them not "
              "its step's", flush=True)
        return one_stream.times[0]

    def serve(self, load):
        with Server(self.arguments.quire_server, [*self.model, *self.engine]) as server:
            neighbours = Neighbours([server.process.pid, *self.awake.pids()])
            report = run([self.arguments.quire_bench, "serve", "--target", server.address,
                          *self.run, *load])
            return neighbours.cores(), report, server.counters()

    def measure(self, name, load):
        """The least disturbed of some tries; the machine's speed drifts."""
        best = None
        for _ in range(self.arguments.tries):
            before, error_before = self.measure_steps()
            others, report, counters = self.serve(load)
            after, error_after = self.measure_steps()
            times = [before, after]
            tried = Measurement(others, report, counters, times,
                                [self.predict(file, load) for file in times],
                                (error_before + error_after) / 2, self.drift(times))
            if best is None or tried.disturbance() < best.disturbance():
                best = tried
            if tried.disturbance() <= 1:
                break
            progress(f"{name}: others used {others:.2f} cores, steps differ by "
                     f"{100 * tried.drift:.1f} %")
        return best

    def load_with(self, seconds, times, rate, lengths):
        """The rate with such a first token on paper, to `rate`, within 0.7 and 1.5."""
        low, high = 0.7, 1.5
        for _ in range(7):
            middle = (low + high) / 2
            predicted = statistics.mean(
                self.predict(file, ["--rate", f"{middle * rate:.4f}", *lengths])["ttft_seconds_p50"]
                for file in times)
            low, high = (low, middle) if predicted > seconds else (middle, high)
        return (low + high) / 2

    def compare(self, name, load, near_limit=None):
        """The largest error of what is judged. `near_limit`: an open loop's rate and lengths, where
        its first tokens are judged by the load that has them."""
        measurement = self.measure(name, load)
        predicted = {key: measurement.predicted(key) for key in RESULTS}
        measured = self.results(measurement.report["total"], measurement.counters)
        client = measurement.report["client"]
        print(f"{name}\n  client {client['cores_used']:.2f} cores, late by "
              f"{1e3 * client['lag_seconds']['p99']:.1f} ms; "
              f"others {measurement.others:.2f} cores; steps before and after differ by "
              f"{100 * measurement.drift:.1f} %, the fit by "
              f"{100 * measurement.fit_error:.1f} % at the median", flush=True)
        judged = JUDGED if near_limit else JUDGED_BELOW_THE_LIMIT
        errors = []
        for key in RESULTS:
            if measured[key] == predicted[key] == 0:
                continue
            ratio = predicted[key] / measured[key] if measured[key] else float("inf")
            if key in judged:
                errors.append(abs(ratio - 1))
            print(f"  {key:<26} predicted {predicted[key]:9.4g}  measured {measured[key]:9.4g}  "
                  f"ratio {ratio:.3f}{'' if key in judged else '  (not judged)'}")
        if near_limit:
            load_ratio = self.load_with(measured["ttft_seconds_p50"], measurement.times,
                                        *near_limit)
            errors.append(abs(load_ratio - 1))
            print(f"  the measured first token is that of {load_ratio:.3f} times this load on "
                  "paper")
        sys.stdout.flush()
        return max(errors)

    @staticmethod
    def results(total, counters):
        queried = counters("quire_prefix_cache_queried_tokens_total")
        hits = counters("quire_prefix_cache_hit_tokens_total")
        return {"ttft_seconds_p50": total["ttft_seconds"]["p50"],
                "ttft_seconds_p90": total["ttft_seconds"]["p90"],
                "per_token_seconds_p50": total["per_token_seconds"]["p50"],
                "per_token_seconds_mean": total["per_token_seconds"]["mean"],
                "output_tokens_per_second": total["output_tokens_per_second"],
                "prefix_hit_ratio": hits / queried if queried else 0,
                "step_seconds_mean": counters("quire_engine_busy_seconds_total") /
                                     counters("quire_steps_total")}


def compare_all(comparison, arguments):
    times = comparison.measure_overhead()
    worst = [0]

    def compare(name, load, near_limit=None):
        if arguments.only in name:
            worst.append(comparison.compare(name, load, near_limit))

    for prefix in (0, arguments.prefix_tokens):
        lengths = comparison.lengths(prefix)
        streams = ["--concurrency", arguments.streams]
        most = comparison.predict(times, [*streams, *lengths])["ok_per_second"]
        suffix = f", prefix {prefix}"
        compare(f"open, 50 % of {most:.1f}/s{suffix}", ["--rate", f"{0.5 * most:.4f}", *lengths])
        compare(f"open, 90 % of {most:.1f}/s{suffix}", ["--rate", f"{0.9 * most:.4f}", *lengths],
                (0.9 * most, lengths))
        compare(f"closed, {arguments.streams} streams{suffix}", [*streams, *lengths])
    print(f"worst {100 * max(worst):.1f} %")
    return max(worst)


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = ROOT / "build/release/bin"
    parser.add_argument("--quire-bench", default=programs / "quire-bench", metavar="FILE")
    parser.add_argument("--quire-server", default=programs / "quire-server", metavar="FILE")
    parser.add_argument("--model", default=ROOT / "deploy/models/quire-demo", metavar="DIR")
    parser.add_argument("--cpu-tier", default="portable", help="default: portable")
    parser.add_argument("--max-running", type=int, default=16, metavar="N", help="default: 16")
    parser.add_argument("--kv-memory", default="64M", metavar="BYTES", help="default: 64M")
    parser.add_argument("--streams", type=int, default=16, metavar="N",
                        help="of the closed loop; default: 16")
    parser.add_argument("--prompt-tokens", type=int, default=256, metavar="N", help="default: 256")
    parser.add_argument("--output-tokens", type=int, default=48, metavar="N", help="default: 48")
    parser.add_argument("--prefix-tokens", type=int, default=512, metavar="N", help="default: 512")
    parser.add_argument("--seconds", type=int, default=30, metavar="S",
                        help="measured of each load; default: 30")
    parser.add_argument("--only", default="", metavar="TEXT", help="loads with this in their name")
    parser.add_argument("--tries", type=int, default=4, metavar="N",
                        help="of each measurement, until nothing disturbs it; default: 4")
    parser.add_argument("--fit-seconds", type=int, default=20, metavar="S",
                        help="that steps are measured for; default: 20")
    parser.add_argument("--may-sleep", action="store_true", help="let cores go to sleep meanwhile")
    return parser.parse_args()


def main():
    arguments = parse()
    with AwakeCores(not arguments.may_sleep) as awake:
        worst = compare_all(Comparison(arguments, awake), arguments)
    sys.exit(worst > 0.1)


if __name__ == "__main__":
    main()
