"""Compares the servers of Quire and llama.cpp under load: see tests/bench/goodput_llama_cpp.sh --help."""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import llama_cpp
import machine
import quiet
from random_gguf import LLAMA_32_1B
from work import Failure, Parser, positive, progress

ROOT = pathlib.Path(__file__).resolve().parents[3]
START_SECONDS = 300
END_SECONDS = 60
ABOUT = """How many requests a second the servers of Quire and of llama.cpp answer in time on this machine's
CPU: the same random weights in the shape of Llama 3.2 1B in BF16, the same threads, the same client
(quire-bench serve), which shares the cores, and the same arrivals: a Poisson process, the same
prompts and answers by number.

Goodput is the number of requests a second that end well with their first token and their later
tokens (on average) in time. Each server is started anew for each rate of arrivals, and the rates go up
until its goodput falls below 0.7 of its best. llama.cpp takes what is best of some settings at one of
the lower rates: sequences at once, and tokens in a step.

The output ends with the verdict on the machine (compare_llama_cpp.sh --help) and
`ratio goodput=R`, of the best of each."""


def rates(text):
    found = [float(each) for each in text.split(",")]
    if not all(rate > 0 for rate in found) or found != sorted(found):
        raise argparse.ArgumentTypeError(f"'{text}' are no rising rates")
    return found


def parse(arguments):
    parser = Parser(prog="goodput_llama_cpp.sh", description=ABOUT)
    binaries = ROOT / "build/release/bin"
    parser.add_argument("--bin-dir", type=pathlib.Path, metavar="DIR", default=binaries,
                        help="of quire-server and quire-bench; default: build/release/bin")
    parser.add_argument("--cache-dir", type=pathlib.Path, metavar="DIR",
                        default=ROOT / "build/llama_cpp",
                        help="for llama.cpp and the model, up to 4 GB; default: build/llama_cpp")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)),
                        metavar="N", help="of both; default: the cores that this process may use")
    parser.add_argument("--rates", type=rates, metavar="LIST", default=[.2, .3, .4, .5, .6, .8, 1],
                        help="arrivals a second; default: 0.2,0.3,0.4,0.5,0.6,0.8,1")
    parser.add_argument("--duration", type=positive, default=120, metavar="S",
                        help="of each measurement, after a warm-up; default: 120")
    parser.add_argument("--prompt-tokens", type=positive, default=256, metavar="N",
                        help="default: 256")
    parser.add_argument("--output-tokens", type=positive, default=64, metavar="N",
                        help="default: 64")
    parser.add_argument("--slo-ttft-ms", type=positive, default=4000, metavar="MS",
                        help="of the first token; default: 4000")
    parser.add_argument("--slo-itl-ms", type=positive, default=250, metavar="MS",
                        help="of the later ones, on average; default: 250")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="also write everything measured to this file")
    return parser.parse_args(arguments)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """A running server; as a context manager it is ended and waited for."""

    def __init__(self, command, port, is_ready):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(word) for word in command], stdout=self.log,
                                        stderr=self.log)
        try:
            self._await(lambda: answers(port) and is_ready(port))
        except BaseException:
            self.__exit__()
            raise

    def _await(self, is_ready):
        end = time.monotonic() + START_SECONDS
        while not is_ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise Failure(f"{self.process.args[0]} did not start:\n{self.log.read()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class QuireServer:
    name, api = "Quire", "quire"
    choices = [()]

    def __init__(self, program, model, threads):
        self.command = [program, "--model", model, "--device", "cpu", "--threads", threads,
                        "--dtype", "bf16", "--kv-memory", "2G", "--metrics-listen", "off"]

    def start(self, _):
        port = free_port()
        return Server([*self.command, "--listen", f"127.0.0.1:{port}"], port,
                      lambda _: True), port


class LlamaServer:
    name, api = "llama.cpp", "openai"
    # Sequences at once, and tokens in a step.
    choices = [(8, 512), (16, 512), (32, 512), (16, 128)]

    def __init__(self, program, model, threads, context):
        self.context = context
        self.command = [program, "-m", model, "-t", threads, "-lm", "none", "--no-webui",
                        "--cache-ram", 0, "--offline"]

    def start(self, choice):
        sequences, tokens = choice
        port = free_port()
        return Server([*self.command, "-np", sequences, "-c", sequences * self.context, "-b", tokens,
                       "-ub", tokens, "--host", "127.0.0.1", "--port", port], port,
                      self._is_ready), port

    @staticmethod
    def _is_ready(port):
        done = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/health"],
                              capture_output=True)
        return done.returncode == 0


@dataclasses.dataclass
class Measurement:
    server: str
    choice: tuple
    rate: float
    goodput: float
    report: dict
    disturbance: quiet.Disturbance

    def line(self):
        total = self.report["total"]
        times = [1000 * total[metric][percentile]
                 for metric in ("ttft_seconds", "per_token_seconds")
                 for percentile in ("p50", "p90")]
        return (f"{self.server:10}{self.rate:6.2f}{self.goodput:10.3f}{total['ok_per_second']:8.3f}"
                + "".join(f"{time:9.0f}" for time in times)
                + f"   {' x '.join(map(str, self.choice))}").rstrip()


class Goodput:
    def __init__(self, options):
        self.options = options
        self.measurements = []

    def measure(self, server, choice, rate, duration):
        options = self.options
        before = quiet.snapshot()
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.json"
            running, port = server.start(choice)
            with running:
                done = subprocess.run([str(word) for word in (
                    options.bin_dir / "quire-bench", "serve", "--api", server.api, "--target",
                    f"127.0.0.1:{port}", "--rate", rate, "--duration", duration, "--warmup",
                    duration // 4, "--drain", 1, "--prompt-tokens", options.prompt_tokens,
                    "--output-tokens", options.output_tokens, "--slo-ttft-ms", options.slo_ttft_ms,
                    "--slo-itl-ms", options.slo_itl_ms, "--vocab-size", LLAMA_32_1B.vocab - 1,
                    "--context", options.prompt_tokens + options.output_tokens + 1, "--json",
                    report)], capture_output=True, text=True)
            # That none is ready in time is a result too.
            found = json.loads(report.read_text()) if report.exists() else None
            if found is None or found["total"]["failed"] > 0:
                raise Failure(f"quire-bench serve, {server.name}:\n{done.stdout}{done.stderr}")
        return Measurement(server.name, choice, rate, found["total"]["goodput_per_second"], found,
                           quiet.disturbance(before, quiet.snapshot()))

    def choose(self, server):
        """What is best at a rate of a third of the way up."""
        if len(server.choices) == 1:
            return server.choices[0]
        rate = self.options.rates[len(self.options.rates) // 3]
        tried = [self.measure(server, choice, rate, self.options.duration)
                 for choice in server.choices]
        for each in tried:
            progress(f"trying  {each.line()}")
        return max(tried, key=lambda each: each.goodput).choice

    def climb(self, server, choice):
        best = 0
        for rate in self.options.rates:
            found = self.measure(server, choice, rate, self.options.duration)
            print(found.line(), flush=True)
            self.measurements.append(found)
            best = max(best, found.goodput)
            if found.goodput < 0.7 * best:
                break
        return best


def compare(options):
    peer = llama_cpp.LlamaCpp(options.cache_dir.resolve(), options.threads)
    peer.prepare(llama_cpp.SERVER)
    model = peer.random_model()
    context = options.prompt_tokens + options.output_tokens + 64
    servers = [LlamaServer(peer.program(llama_cpp.SERVER), model, options.threads, context),
               QuireServer(options.bin_dir / "quire-server", model, options.threads)]
    goodput = Goodput(options)
    choices = [goodput.choose(server) for server in servers]
    print(f"cpu {machine.model()}, {options.threads} threads; prompts of {options.prompt_tokens}, answers "
          f"of {options.output_tokens} tokens; in time: first token {options.slo_ttft_ms} ms, later "
          f"ones {options.slo_itl_ms} ms on average\n\n{'server':10}{'rate':>6}{'goodput/s':>10}"
          f"{'ok/s':>8}{'TTFT p50':>9}{'p90':>9}{'ITL p50':>9}{'p90':>9}   ms", flush=True)
    theirs, ours = (goodput.climb(server, choice) for server, choice in zip(servers, choices))
    verdict = quiet.verdict({f"{each.server} at {each.rate}": each.disturbance
                             for each in goodput.measurements})
    print(f"verdict {verdict}\nratio goodput={ours / theirs:.3f}")
    if options.json:
        options.json.write_text(json.dumps({
            "cpu": machine.model(), "threads": options.threads, "verdict": verdict,
            "goodput": {"quire": ours, "llama_cpp": theirs},
            "measurements": [dataclasses.asdict(each) for each in goodput.measurements]},
            indent=2) + "\n")


def main():
    options = parse(sys.argv[1:])
    try:
        compare(options)
    except (Failure, OSError) as error:
        sys.exit(f"goodput_llama_cpp.sh: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
