"""Whether the machine was ours while something ran: steal, CPU pressure, and others' processes."""

import dataclasses
import os
import pathlib
import re
import resource
import time

# Shares of the machine's CPU time, and of the time that passed for pressure.
MOST_STEAL = 0.02
MOST_OTHERS = 0.05
MOST_PRESSURE = 0.10


@dataclasses.dataclass(frozen=True)
class Snapshot:
    seconds: float
    cpu_ticks: tuple  # user, nice, system, idle, iowait, irq, softirq, steal
    pressure_seconds: float  # in which something waited for a CPU; None where the kernel counts none
    own_seconds: float  # CPU time of our children that have ended


@dataclasses.dataclass(frozen=True)
class Disturbance:
    steal: float
    others: float
    pressure: float  # or None

    def worse(self):
        """What is too much, in words."""
        found = []
        for name, value, most in (("steal", self.steal, MOST_STEAL),
                                  ("CPU pressure", self.pressure, MOST_PRESSURE),
                                  ("others' processes", self.others, MOST_OTHERS)):
            if value is not None and value > most:
                found.append(f"{name} {100 * value:.0f} %")
        return found


def _pressure(proc, field):
    try:
        line = (proc / "pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return float(re.search(rf"\b{field}=([\d.]+)", line).group(1))


def snapshot(proc=pathlib.Path("/proc")):
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = (proc / "stat").read_text().splitlines()[0].split()[1:9]
    waited = _pressure(proc, "total")
    return Snapshot(seconds=time.monotonic(), cpu_ticks=tuple(int(tick) for tick in ticks),
                    pressure_seconds=None if waited is None else waited / 1e6,
                    own_seconds=children.ru_utime + children.ru_stime)


def disturbance(before, after, ticks_per_second=os.sysconf("SC_CLK_TCK")):
    ticks = [b - a for a, b in zip(before.cpu_ticks, after.cpu_ticks)]
    user, nice, system, _, _, irq, softirq, steal = ticks
    total = max(sum(ticks), 1)
    own = (after.own_seconds - before.own_seconds) * ticks_per_second
    pressure = None
    if before.pressure_seconds is not None and after.pressure_seconds is not None:
        pressure = ((after.pressure_seconds - before.pressure_seconds) /
                    max(after.seconds - before.seconds, 1e-9))
    return Disturbance(steal=steal / total, pressure=pressure,
                       others=max(user + nice + system + irq + softirq - own, 0) / total)


def verdict(disturbances):
    """`disturbances`: of each run, by its name. The worst run decides: it may be the one that a
    median takes."""
    noisy = [name for name, each in disturbances.items() if each.worse()]
    if not noisy:
        return "quiet"
    worst = max(noisy, key=lambda name: sum(
        value or 0 for value in dataclasses.astuple(disturbances[name])))
    return (f"not quiet: {', '.join(disturbances[worst].worse())} in {worst}; "
            f"{len(noisy)} of {len(disturbances)} runs disturbed")


def now(proc=pathlib.Path("/proc")):
    """(load average of a minute, CPU pressure of ten seconds or None): what was before a run."""
    pressure = _pressure(proc, "avg10")
    load = float((proc / "loadavg").read_text().split()[0])
    return load, None if pressure is None else pressure / 100
