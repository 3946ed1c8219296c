"""A strict reader of Prometheus' text format 0.0.4, for tests."""

import re

_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"),
             "counter": ("",), "gauge": ("",)}


class Metrics:
    """Samples by name and labels; `types` and `helps` by family."""

    def __init__(self):
        self.types, self.helps, self.samples = {}, {}, {}

    def value(self, name, **labels):
        """The only sample of that name that has these labels."""
        found = [v for have, v in self.samples.get(name, {}).items()
                 if set(labels.items()) <= set(have)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} samples of {name} with {labels}")
        return found[0]

    def total(self, name):
        return sum(self.samples[name].values())


def _labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError(f"malformed labels: {text}")
        if match[1] in labels:
            raise ValueError(f"label twice: {text}")
        labels[match[1]] = match[2]
        at = match.end()
    return frozenset(labels.items())


def parse(text):
    metrics, family = Metrics(), None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, family, text_of = line.split(" ", 3)
            if family in metrics.helps:
                raise ValueError(f"family twice: {family}")
            metrics.helps[family] = text_of
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name != family:
                raise ValueError(f"TYPE of {name} after HELP of {family}")
            metrics.types[name] = kind
        elif line:
            match = _SAMPLE.match(line)
            if match is None:
                raise ValueError(f"malformed line: {line}")
            name, labels = match[1], _labels(match[2] or "")
            if name not in [family + s for s in _SUFFIXES[metrics.types[family]]]:
                raise ValueError(f"{name} among the samples of {family}")
            samples = metrics.samples.setdefault(name, {})
            if labels in samples:
                raise ValueError(f"series twice: {line}")
            samples[labels] = float(match[3].replace("Nan", "nan"))
    return metrics
