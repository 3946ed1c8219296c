"""What both engines are to do, and how programs are run."""

import argparse
import dataclasses
import subprocess
import sys

TIMEOUT_SECONDS = 3600


class Failure(Exception):
    """Something that the user should read; ends the program."""


class Parser(argparse.ArgumentParser):
    """Shows its description as it is written; errors exit with 1."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                         **options)

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


@dataclasses.dataclass(frozen=True)
class Prefill:
    """A prompt of one sequence; `samples` times, after a warm-up."""

    name: str
    prompt: int
    samples: int
    ubatches: tuple  # that llama.cpp may choose from


@dataclasses.dataclass(frozen=True)
class Decode:
    """From each of `starts` tokens of context on, `steps` steps of `batch` sequences. Each such
    piece has a rate of its own."""

    name: str
    batch: int
    starts: tuple
    steps: int

    def contexts(self, start):
        """Of each step: the token that it adds is one of them."""
        return range(start + 1, start + self.steps + 1)


SHORT = (Prefill("prefill512", 512, 5, (128, 256, 512)),
         *(Decode(f"decode{batch}", batch, (128, 144, 160, 176), 16) for batch in (1, 8, 16, 32)))
LONG = (Prefill("prefill8192", 8192, 1, (512, 2048)), Decode("decode4at8192", 4, (8192,), 16))


def progress(text):
    print(text, file=sys.stderr, flush=True)


def run(command, what):
    """Standard output. `what` it is for, in errors."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{what}: {error}") from error
    if done.returncode != 0:
        last = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise Failure(f"{what} failed with {done.returncode}: {' '.join(words)}\n  {last}")
    return done.stdout
