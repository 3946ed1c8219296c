#!/usr/bin/env python3
"""Attention of PyTorch, by the fastest of its back ends, and of FlashInfer where it is installed,
beside gpu_bench's of the same shapes: BF16, contiguous KV for PyTorch, pages of 16 for FlashInfer.

  compare_sdpa.py [--quire bench.json] [--json FILE] [--limit-seconds N]
"""

import argparse
import json
import statistics
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("compare_sdpa.py: python3 has no torch")
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

PAGE = 16
ROTATION = 512 << 20  # bytes read before any is read again: more than caches hold
SAMPLES = 21
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
HEADS = [(32, 8, 128), (32, 32, 128), (64, 8, 128)]
DECODE_TABLE = "Decode attention of a layer"
PREFILL_TABLE = "Prefill attention of a layer"


def micros(calls):
    """The time of one of the calls, recorded in a graph one after the other."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls[:2]:
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    times = []
    for sample in range(SAMPLES + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        if sample >= 2:
            times.append(1e3 * begin.elapsed_time(end) / len(calls))
    return statistics.median(times)


def random(*shape):
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


def copies(kv_bytes):
    return max(1, min(64, ROTATION // kv_bytes))


def sdpa(batch, context, queries, heads, groups, head_dim):
    """The best back end's name and time; None where none takes the shape."""
    q = random(batch, heads, queries, head_dim)
    count = copies(4 * batch * groups * context * head_dim)
    pairs = [(random(batch, groups, context, head_dim), random(batch, groups, context, head_dim))
             for _ in range(count)]
    best = None
    for name, backend in BACKENDS.items():
        try:
            with sdpa_kernel([backend]):
                calls = [
                    lambda k=k, v=v: scaled_dot_product_attention(
                        q, k, v, is_causal=queries > 1, enable_gqa=heads != groups)
                    for k, v in pairs
                ]
                taken = micros(calls)
        except RuntimeError as error:  # it does not take this shape
            print(f"{name}: {str(error).splitlines()[0][:150]}", file=sys.stderr)
            continue
        if best is None or taken < best[1]:
            best = (name, taken)
    return best


def flashinfer_decode(batch, context, heads, groups, head_dim):
    """None where it is not installed."""
    try:
        import flashinfer
    except ImportError:
        return None
    pages = -(-context // PAGE)
    table = torch.randperm(batch * pages, device="cuda", dtype=torch.int32)
    starts = torch.arange(batch + 1, device="cuda", dtype=torch.int32) * pages
    last = torch.full((batch,), context - (pages - 1) * PAGE, device="cuda", dtype=torch.int32)
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
        torch.empty(256 << 20, dtype=torch.uint8, device="cuda"), "HND", use_tensor_cores=True)
    wrapper.plan(starts, table, last, heads, groups, head_dim, PAGE,
                 q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)
    q = random(batch, heads, head_dim)
    caches = [random(batch * pages, 2, groups, PAGE, head_dim)
              for _ in range(copies(4 * batch * groups * context * head_dim))]
    return micros([lambda kv=kv: wrapper.run(q, kv) for kv in caches])


def read_quire(path):
    """(heads, groups, head_dim, batch or 0, queries, context) -> microseconds."""
    times = {}
    if path is None:
        return times
    with open(path) as file:
        tables = json.load(file).get("tables", {})
    for name, rows in tables.items():
        for row in rows:
            if name.startswith(DECODE_TABLE):
                key = (row["heads"], row["groups"], row["head_dim"], row["batch"], 1, row["context"])
            elif name.startswith(PREFILL_TABLE):
                key = (row["heads"], row["groups"], row["head_dim"], 1, row["queries"],
                       row["context"])
            else:
                continue
            if isinstance(row.get("us"), (int, float)):
                times[key] = row["us"]
    return times


def shapes():
    """What says most comes first."""
    for context in (4096, 32768, 1024):
        for heads, groups, head_dim in HEADS:
            for batch in (32, 1, 8, 128):
                yield heads, groups, head_dim, batch, 1, context
    for tokens in (2048, 8192, 32768):
        yield 32, 8, 128, 1, tokens, tokens


def compare(shape, quire):
    heads, groups, head_dim, batch, queries, context = shape
    kv_bytes = 4 * batch * groups * context * head_dim
    if kv_bytes > 0.4 * torch.cuda.mem_get_info()[0]:
        return None
    best = sdpa(batch, context, queries, heads, groups, head_dim)
    torch.cuda.empty_cache()
    other = flashinfer_decode(batch, context, heads, groups, head_dim) if queries == 1 else None
    torch.cuda.empty_cache()
    own = quire.get(shape)
    fastest = min((t for t in (best and best[1], other) if t), default=None)
    return {
        "heads": heads, "groups": groups, "head_dim": head_dim, "batch": batch,
        "queries": queries, "context": context,
        "sdpa": best[0] if best else None, "sdpa_us": best[1] if best else None,
        "flashinfer_us": other, "quire_us": own,
        "fastest_over_quire": fastest / own if fastest and own else None,
    }


def print_table(rows):
    columns = list(rows[0]) if rows else []
    text = [[f"{x:.3g}" if c == "fastest_over_quire" and x is not None else
             f"{x:.1f}" if isinstance(x, float) else "-" if x is None else str(x)
             for c, x in row.items()] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *text]) for i in range(len(columns))]
    print(f"\nAttention beside PyTorch {torch.__version__}: above 1, Quire is faster")
    for line in [columns, *text]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quire")
    parser.add_argument("--json")
    parser.add_argument("--limit-seconds", type=float, default=80)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("compare_sdpa.py: torch sees no GPU")
    end = time.monotonic() + options.limit_seconds
    try:
        quire = read_quire(options.quire)
    except OSError as error:
        sys.exit(f"compare_sdpa.py: {error}")
    rows = []
    for shape in shapes():
        if time.monotonic() > end:
            print("the rest was left out for lack of time", file=sys.stderr)
            break
        row = compare(shape, quire)
        if row:
            rows.append(row)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"torch": torch.__version__, "attention": rows}, file, indent=1)
    print_table(rows)


if __name__ == "__main__":
    main()
