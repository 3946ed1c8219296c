"""llama.cpp's side: the sources that a pinned llama-cpp-python ships, built for this machine, and
its own benchmarks."""

import collections
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import sys

import machine
import random_gguf
from work import Decode, Failure, Prefill, progress, run

VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
BENCHMARKS = ("llama-bench", "llama-batched-bench", "llama-quantize")
SERVER = "llama-server"
CMAKE_OPTIONS = ("CMAKE_BUILD_TYPE=Release", "GGML_NATIVE=ON", "BUILD_SHARED_LIBS=OFF",
                 "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_TESTS=OFF", "LLAMA_BUILD_EXAMPLES=OFF",
                 "LLAMA_BUILD_APP=OFF", "LLAMA_USE_PREBUILT_UI=OFF")
TILE_CONFIG = pathlib.Path(__file__).resolve().parent / "tile_config.h"
QUANTIZED = {"int8": "Q8_0", "int4": "Q4_0"}

Settings = collections.namedtuple("Settings", "flash_attention ubatch")


def describe(settings):
    return f"flash attention {settings.flash_attention}, ubatch {settings.ubatch}"


def bench_rates(output):
    """Of llama-bench's JSON: the rates of each combination of settings."""
    rates = {}
    for test in json.loads(output):
        flash_attention = "on" if test["flash_attn"] == 1 else "off"
        rates[Settings(flash_attention, test["n_ubatch"])] = test["samples_ts"]
    return rates


def batched_bench_rates(output):
    """Of llama-batched-bench's JSON lines: by batch, the rates of each piece."""
    rates = collections.defaultdict(list)
    for line in output.splitlines():
        if line.startswith("{"):
            piece = json.loads(line)
            rates[piece["pl"]].append(piece["speed_tg"])
    return dict(rates)


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, cache, threads):
        self.cache, self.threads = cache, threads
        self.source = cache / f"llama_cpp_python-{VERSION}" / "vendor/llama.cpp"
        # What was built for one processor does not run on another.
        self.build = cache / f"build-{VERSION}-{machine.fingerprint()}"

    def prepare(self, *targets):
        """Fetches and builds what the cache lacks."""
        self.cache.mkdir(parents=True, exist_ok=True)
        if not self.source.exists():
            self._fetch()
        missing = [target for target in targets if not (self.build / f"has-{target}").exists()]
        if missing:
            self._build(missing)

    def _fetch(self):
        archive = self.cache / f"llama_cpp_python-{VERSION}.tar.gz"
        if not archive.exists():
            progress(f"downloading llama-cpp-python {VERSION}")
            run([sys.executable, "-m", "venv", self.cache / "venv"], "making a Python environment")
            run([self.cache / "venv/bin/pip", "download", "--quiet", "--no-deps", "--no-binary",
                 ":all:", f"llama-cpp-python=={VERSION}", "-d", self.cache], "pip download")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise Failure(f"{archive} has the SHA-256 {found}, not the pinned {SHA256}: remove it")
        unpacked = self.cache / "unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        run(["tar", "-xzf", archive, "-C", unpacked], "tar")
        folder = self.source.parents[1]
        (unpacked / folder.name).rename(folder)
        unpacked.rmdir()

    def _build(self, targets):
        progress(f"building {', '.join(targets)} in {self.build}")
        run(["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build,
             f'-DCMAKE_CXX_FLAGS=-include "{TILE_CONFIG}"',
             *(f"-D{option}" for option in CMAKE_OPTIONS)], "cmake")
        run(["cmake", "--build", self.build, "-j", len(os.sched_getaffinity(0)), "--target",
             *targets], "building llama.cpp")
        for target in targets:
            (self.build / f"has-{target}").touch()

    def program(self, name):
        return self.build / "bin" / name

    def random_model(self):
        """The file of BF16 weights, which Quire reads too."""
        path, shape = self.cache / "llama-3.2-1b-random-bf16.gguf", random_gguf.LLAMA_32_1B
        if not path.exists():
            self._need_room(random_gguf.file_bytes(shape))
            progress(f"writing {path}")
            random_gguf.write(path, shape)
        return path

    def _need_room(self, size):
        free = shutil.disk_usage(self.cache).free
        if free < size * 1.05:
            raise Failure(f"{self.cache} has {free / 1e9:.1f} GB left, of which a model takes "
                          f"{size / 1e9:.1f}: choose another --cache-dir")

    def model(self, precision):
        """Made from the random model where it is quantized: every matrix, the embedding too."""
        original = self.random_model()
        if precision not in QUANTIZED:
            return original
        kind = QUANTIZED[precision]
        path = self.cache / f"llama-3.2-1b-random-{kind.lower()}.gguf"
        if not path.exists():
            self._need_room(original.stat().st_size)
            progress(f"writing {path}")
            part = path.with_suffix(".part")
            # As Quire has them, and about as llama.cpp's own mixtures: a table of 8 bits beside 4.
            run([self.program("llama-quantize"), "--pure", "--token-embedding-type", "q8_0",
                 original, part, kind, self.threads], "llama-quantize")
            part.rename(path)
        return path

    def _prefill(self, model, work, choices, samples, warm_up):
        options = [] if warm_up else ["--no-warmup"]
        words = lambda values: ",".join(dict.fromkeys(str(value) for value in values))
        return bench_rates(run(
            [self.program("llama-bench"), "-m", model, "-t", self.threads, "-lm", "none", "-p",
             work.prompt, "-n", 0, "-b", max(512, *(c.ubatch for c in choices)), "-ub",
             words(c.ubatch for c in choices), "-fa", words(c.flash_attention for c in choices),
             "-r", samples, "-o", "json", *options], f"llama-bench, {work.name}"))

    def _decode(self, model, batches, starts, steps, settings):
        # One prompt, copied to every sequence: the same steps as after prompts of their own.
        list_of = lambda values: ",".join(str(value) for value in values)
        context = max(batches) * (max(starts) + steps)
        output = run([self.program("llama-batched-bench"), "-m", model, "-t", self.threads, "-lm",
                      "none", "-no-kvu", "-c", context, "-ub", settings.ubatch, "-fa",
                      settings.flash_attention, "-pps", "-npp", list_of(starts), "-ntg", steps,
                      "-npl", list_of(batches), "--output-format", "jsonl"], "llama-batched-bench")
        rates = batched_bench_rates(output)
        if any(len(rates.get(batch, [])) != len(starts) for batch in batches):
            raise Failure(f"llama-batched-bench left something out:\n{output}")
        return rates

    def choose_settings(self, works, model):
        """By name, the fastest of each work in a short try of every combination."""
        chosen = {}
        for work in works:
            if not isinstance(work, Prefill):
                continue
            choices = [Settings(flash, ubatch) for flash in ("on", "off")
                       for ubatch in work.ubatches]
            # The better of two: the first warms up.
            rates = self._prefill(model, work, choices, min(work.samples, 2), warm_up=False)
            chosen[work.name] = max(rates, key=lambda settings: max(rates[settings]))
        decodes = [work for work in works if isinstance(work, Decode)]
        for start in sorted({work.starts[0] for work in decodes}):
            same = [work for work in decodes if work.starts[0] == start]
            rates = {}
            for flash in ("on", "off"):
                settings = Settings(flash, 512)
                rates[settings] = self._decode(model, [work.batch for work in same], [start], 8,
                                               settings)
            for work in same:
                chosen[work.name] = max(rates, key=lambda each: rates[each][work.batch][0])
        return chosen

    def measure(self, work, model, settings):
        """Tokens a second."""
        if isinstance(work, Prefill):
            rates = self._prefill(model, work, [settings], work.samples,
                                  warm_up=True)[settings]
        else:
            rates = self._decode(model, [work.batch], work.starts, work.steps,
                                 settings)[work.batch]
        return statistics.median(rates)
