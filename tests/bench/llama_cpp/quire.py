"""Quire's side: quire-bench step."""

import json
import pathlib
import re
import statistics
import tempfile

from work import Failure, Prefill, run

CHUNK = 512


def weight_options(help_text, precision):
    """What has `quire-bench step` compute with weights of a precision."""
    if precision == "bf16":
        return ["--dtype", "bf16"]
    option = re.search(r"--weights\b(.*?)(?=\n\s+-|\Z)", help_text, re.DOTALL)
    if not option or not re.search(rf"\b{precision}\b", option.group(1)):
        raise Failure(f"--precision {precision}: this quire-bench has no --weights {precision}")
    return ["--dtype", "bf16", "--weights", precision]


def prefill_rates(report):
    return [result["tokens_per_second"] for result in report["results"]
            if result["phase"] == "prefill"]


def decode_rates(report, work):
    """Tokens a second of each piece, from the time that each of its steps took."""
    seconds = {result["context_tokens"]: result["seconds_median"] for result in report["results"]
               if result["phase"] == "decode" and result["batch"] == work.batch}
    return [work.batch * work.steps / sum(seconds[context] for context in work.contexts(start))
            for start in work.starts]


class Quire:
    name = "Quire"

    def __init__(self, bench, threads):
        if not bench.is_file():
            raise Failure(f"there is no {bench}: build the target quire-bench, or name it with "
                          "--quire-bench")
        self.bench, self.threads = bench.resolve(), threads
        self.help = run([bench, "step", "--help"], "quire-bench")

    def check_precision(self, precision):
        weight_options(self.help, precision)

    def measure(self, work, model, precision):
        """Tokens a second. Every step is timed on its own, after one like it."""
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.json"
            command = [self.bench, "step", "--model", model, "--threads", self.threads, "--repeat",
                       1, "--json", report, *weight_options(self.help, precision)]
            if isinstance(work, Prefill):
                command += ["--chunk", CHUNK, "--batch", 1, "--context", 1, "--prompt",
                            ",".join([str(work.prompt)] * work.samples)]
            else:
                contexts = [str(c) for start in work.starts for c in work.contexts(start)]
                command += ["--chunk", 1, "--prompt", 1, "--batch", work.batch, "--context",
                            ",".join(contexts)]
            run(command, f"quire-bench, {work.name}")
            found = json.loads(report.read_text())
        rates = prefill_rates(found) if isinstance(work, Prefill) else decode_rates(found, work)
        return statistics.median(rates)
