"""What clients that never read cost those that do: time between messages of a few streams alone,
beside 64 that read, and beside 64 that do not, come at the same time and are all ended by
--write-stall-timeout, but after the few streams have.

    QUIRE_SERVER=... QUIRE_STUBS=... QUIRE_MODEL=... /usr/bin/python3 tests/bench/stalled_readers.py

Options go to the server, such as --max-unread-tokens 0. About five minutes.
Rounds of all three follow each other, so that a busy machine is busy for each; what counts are the
medians of their ratios.
"""

import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from http2_client import Connection, message  # noqa: E402
from quire_server import Answer, QuireServer, pb  # noqa: E402

ROUNDS, MEASURED, BESIDE, TOKENS = 9, 8, 64, 1900
STALL_S = 20
BODY = message(pb.GenerateRequest(text="Anna has", max_tokens=1900,
                                  ignore_eos=True).SerializeToString())


def gaps(server):
    """Seconds between the messages of streams that are read."""
    found, lock = [], threading.Lock()

    def read():
        channel, stub = server.connect()
        last, own = None, []
        for _ in server.generate("Tom has", stub=stub, max_tokens=TOKENS, ignore_eos=True):
            now = time.perf_counter()
            own += [now - last] if last else []
            last = now
        channel.close()
        with lock:
            found.extend(own)

    threads = [threading.Thread(target=read) for _ in range(MEASURED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def alone(server):
    return gaps(server)


def beside_readers(server):
    calls = [server.generate(max_tokens=1900, ignore_eos=True) for _ in range(BESIDE)]
    threads = [threading.Thread(target=Answer(call).read) for call in calls]
    for thread in threads:
        thread.start()
    found = gaps(server)
    for call in calls:
        call.cancel()
    for thread in threads:
        thread.join()
    return found


def beside_stalled(server):
    connections = [Connection(server.address, window=1).start() for _ in range(4)]
    for connection in connections:
        for _ in range(BESIDE // len(connections)):
            connection.call(BODY)
    ended = server.metrics().value("quire_slow_readers_total", reason="stalled")
    began = time.perf_counter()
    found = gaps(server)
    assert time.perf_counter() - began < STALL_S, "too slow: the timer had ended them before"
    server.metrics_when(
        lambda m: m.value("quire_slow_readers_total", reason="stalled") == ended + BESIDE)
    for connection in connections:
        connection.close()
    return found


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def main():
    p99 = {alone: [], beside_readers: [], beside_stalled: []}
    with QuireServer("--write-stall-timeout", f"{STALL_S}s", *sys.argv[1:]) as server:
        for _ in range(ROUNDS):
            for scene, values in p99.items():
                found = scene(server)
                server.metrics_at_rest()
                values.append(percentile(found, 0.99))
                print(f"{scene.__name__:15} p50 {1e3 * percentile(found, 0.5):7.2f} ms, "
                      f"p99 {1e3 * values[-1]:7.2f} ms", flush=True)
        stalled = server.metrics().value("quire_slow_readers_total", reason="stalled")
    for other in (alone, beside_readers):
        ratios = [a / b for a, b in zip(p99[beside_stalled], p99[other])]
        print(f"p99 beside_stalled / {other.__name__}: median {statistics.median(ratios):.2f}, "
              f"from {min(ratios):.2f} to {max(ratios):.2f}, {ROUNDS} rounds")
    print(f"{stalled:.0f} of {ROUNDS * BESIDE} streams that were not read were ended")


if __name__ == "__main__":
    main()
