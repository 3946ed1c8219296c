"""How far `quire-bench fleet --replicas 1` is from a server that runs: the same loads on both, and
predicted by measured. Within 10 % is what is asked for.

    python3 tests/bench/fleet_prediction.py [--model DIR] [--cpu-tier portable] [--seconds 30]

Loads: an open loop at half and at 90 % of what the server can do, and a closed loop; each with and
without a prefix that all prompts share. A server starts anew for each, with an empty KV cache.

The server computes with one thread and the steps are measured with one, so the client, gRPC and
what hands tokens out have the other core. A message costs them about 30 us, so a model is to be
measured whose steps bring less than some 10,000 tokens a second: a tiny one as --cpu-tier portable
computes it (the default), or any of the usual size as it is. Eight minutes.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 900


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
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.metrics, timeout=TIMEOUT_SECONDS) as reply:
            lines = reply.read().decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}


def run(command):
    """What the program wrote with --json."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        words = [str(word) for word in [*command, "--json", report]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if done.returncode != 0 or not report.exists():
            sys.exit(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return json.loads(report.read_text())


class Comparison:
    def __init__(self, arguments):
        self.arguments = arguments
        self.model = ["--model", arguments.model, "--threads", 1, "--cpu-tier", arguments.cpu_tier]
        self.engine = ["--max-running", arguments.max_running, "--kv-memory", arguments.kv_memory]
        self.run = ["--seed", 7, "--warmup", 2, "--duration", arguments.seconds]
        self.folder = tempfile.TemporaryDirectory()
        self.times = pathlib.Path(self.folder.name) / "times.json"

    def lengths(self, prefix):
        return ["--prompt-tokens", self.arguments.prompt_tokens, "--prompt-sigma", 0.6,
                "--output-tokens", self.arguments.output_tokens, "--output-sigma", 0.6,
                "--shared-prefix-tokens", prefix]

    def fleet(self, *options):
        return run([self.arguments.quire_bench, "fleet", *self.model, *self.engine, "--replicas", 1,
                    "--policy", "round-robin", *options])

    def measure_steps(self):
        report = self.fleet("--write-step-times", self.times, "--fit-seconds",
                            self.arguments.fit_seconds, "--concurrency", 1, "--duration", 1,
                            *self.lengths(self.arguments.prefix_tokens))
        fit = report["step_times"]["fit"]
        print(f"steps    {fit['steps']} fitted: off by {100 * fit['error_median']:.1f} % at the "
              f"median, {100 * fit['error_p90']:.1f} % at p90")

    def predict(self, load):
        report = self.fleet("--step-times", self.times, *self.run, *load)
        return report["results"][0]["mean"]

    def measure(self, load):
        with Server(self.arguments.quire_server, [*self.model, *self.engine]) as server:
            report = run([self.arguments.quire_bench, "serve", "--target", server.address, *self.run,
                          *load])
            counters = server.counters()
        total = report["total"]
        queried = counters["quire_prefix_cache_queried_tokens_total"]
        steps = sum(value for name, value in counters.items() if name.startswith("quire_steps_total"))
        busy = {stage: counters[f'quire_engine_busy_seconds_total{{stage="{stage}"}}']
                for stage in ("forward", "schedule")}
        print(f"         server: {steps:.0f} steps, {1e6 * busy['schedule'] / steps:.0f} us of each "
              f"outside the model; client: {report['client']['cores_used']:.2f} cores, late by "
              f"{1e3 * report['client']['lag_seconds']['p99']:.1f} ms")
        return {"ttft_seconds_p50": total["ttft_seconds"]["p50"],
                "ttft_seconds_p90": total["ttft_seconds"]["p90"],
                "per_token_seconds_p50": total["per_token_seconds"]["p50"],
                "output_tokens_per_second": total["output_tokens_per_second"],
                "prefix_hit_ratio":
                    counters["quire_prefix_cache_hit_tokens_total"] / queried if queried else 0}

    def compare(self, name, load):
        measured, predicted = self.measure(load), self.predict(load)
        worst = 0
        cells = []
        for key in measured:
            if measured[key] == predicted[key] == 0:
                continue
            ratio = predicted[key] / measured[key] if measured[key] else float("inf")
            if key != "ttft_seconds_p90":
                worst = max(worst, abs(ratio - 1))
            cells.append(f"{key} {predicted[key]:.4g}/{measured[key]:.4g} = {ratio:.3f}")
        print(f"{name:<28} {'; '.join(cells)}", flush=True)
        return worst


def compare_all(comparison, arguments):
    comparison.measure_steps()
    worst = []
    for prefix in (0, arguments.prefix_tokens):
        lengths = comparison.lengths(prefix)
        streams = ["--concurrency", arguments.streams]
        most = comparison.predict([*streams, *lengths])["ok_per_second"]
        suffix = f", prefix {prefix}"
        for share in (0.5, 0.9):
            worst.append(comparison.compare(f"open, {share:.0%} of {most:.1f}/s{suffix}",
                                            ["--rate", f"{share * most:.3f}", *lengths]))
        worst.append(comparison.compare(f"closed, {arguments.streams} streams{suffix}",
                                        [*streams, *lengths]))
    print(f"worst    {100 * max(worst):.1f} % (median of the first token, of a later one, tokens a "
          "second, hits)")
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
    parser.add_argument("--fit-seconds", type=int, default=20, metavar="S",
                        help="that steps are measured for; default: 20")
    return parser.parse_args()


def main():
    arguments = parse()
    sys.exit(compare_all(Comparison(arguments), arguments) > 0.1)


if __name__ == "__main__":
    main()
