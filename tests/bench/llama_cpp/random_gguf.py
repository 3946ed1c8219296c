"""Writes a Llama model with random weights as a GGUF file that Quire and llama.cpp both load."""

import array
import dataclasses
import math
import os
import random
import struct
import sys

_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_NORMAL_TOKEN, _CONTROL_TOKEN = 1, 3
_F32, _BF16 = 0, 30
_ALIGNMENT = 32
_DEVIATION = 0.02
# Values that repeat throughout the file. Their number is prime, so that no two rows are alike.
_POOL_VALUES = 1_000_003


@dataclasses.dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_groups: int
    head_dim: int
    vocab: int
    positions: int
    rope_theta: float
    rope_factor: float  # of the llama3 kind
    rope_original_positions: int
    norm_eps: float = 1e-5


LLAMA_32_1B = Shape(layers=16, hidden=2048, intermediate=8192, heads=32, kv_groups=8, head_dim=64,
                    vocab=128256, positions=131072, rope_theta=500000.0, rope_factor=32.0,
                    rope_original_positions=8192)


def rope_divisors(shape):
    """What each frequency is divided by: short waves by 1, long ones by rope_factor."""
    divisors = []
    for i in range(shape.head_dim // 2):
        wave = 2 * math.pi * shape.rope_theta ** (2 * i / shape.head_dim)
        share = min(max((shape.rope_original_positions / wave - 1) / (4 - 1), 0), 1)
        divisors.append(1 / ((1 - share) / shape.rope_factor + share))
    return divisors


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _byte_letters():
    """The letter that stands for each byte in GPT-2's vocabularies."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def _vocabulary(shape):
    """A token for each byte and one that is merged of two; the rest no text has, but answers may.
    The last ends a text."""
    tokens = [*_byte_letters(), "ab"]
    tokens += [f"_{id}" for id in range(len(tokens), shape.vocab)]
    types = [_NORMAL_TOKEN] * (shape.vocab - 1) + [_CONTROL_TOKEN]
    array_of = lambda kind, items: struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
    text = lambda value: struct.pack("<I", _STRING) + _string(value)
    return {
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("llama-bpe"),
        "tokenizer.ggml.tokens": array_of(_STRING, [_string(token) for token in tokens]),
        "tokenizer.ggml.token_type": array_of(_INT32, [struct.pack("<i", kind) for kind in types]),
        "tokenizer.ggml.merges": array_of(_STRING, [_string("a b")]),
        "tokenizer.ggml.bos_token_id": struct.pack("<II", _UINT32, shape.vocab - 1),
        "tokenizer.ggml.eos_token_id": struct.pack("<II", _UINT32, shape.vocab - 1),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", _BOOL, False),
    }


def _metadata(shape):
    number = lambda value: struct.pack("<II", _UINT32, value)
    real = lambda value: struct.pack("<If", _FLOAT32, value)
    text = lambda value: struct.pack("<I", _STRING) + _string(value)
    return {
        "general.architecture": text("llama"),
        "llama.block_count": number(shape.layers),
        "llama.context_length": number(shape.positions),
        "llama.embedding_length": number(shape.hidden),
        "llama.feed_forward_length": number(shape.intermediate),
        "llama.attention.head_count": number(shape.heads),
        "llama.attention.head_count_kv": number(shape.kv_groups),
        "llama.attention.key_length": number(shape.head_dim),
        "llama.attention.value_length": number(shape.head_dim),
        "llama.attention.layer_norm_rms_epsilon": real(shape.norm_eps),
        "llama.rope.freq_base": real(shape.rope_theta),
        "llama.rope.dimension_count": number(shape.head_dim),
        "llama.vocab_size": number(shape.vocab),
        **_vocabulary(shape),
    }


def _tensors(shape):
    """Yields (name, (rows, columns) of a random matrix or the values of a vector)."""
    ones = [1.0] * shape.hidden
    queries, keys = shape.heads * shape.head_dim, shape.kv_groups * shape.head_dim
    yield "token_embd.weight", (shape.vocab, shape.hidden)
    yield "output_norm.weight", ones
    yield "rope_freqs.weight", rope_divisors(shape)
    for layer in range(shape.layers):
        prefix = f"blk.{layer}."
        yield prefix + "attn_norm.weight", ones
        yield prefix + "attn_q.weight", (queries, shape.hidden)
        yield prefix + "attn_k.weight", (keys, shape.hidden)
        yield prefix + "attn_v.weight", (keys, shape.hidden)
        yield prefix + "attn_output.weight", (shape.hidden, queries)
        yield prefix + "ffn_norm.weight", ones
        yield prefix + "ffn_gate.weight", (shape.intermediate, shape.hidden)
        yield prefix + "ffn_up.weight", (shape.intermediate, shape.hidden)
        yield prefix + "ffn_down.weight", (shape.hidden, shape.intermediate)


def _padded(size):
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _layout(shape):
    """The file up to its data; for each tensor its offset there, its bytes and its content."""
    entries, head, placed, offset = _metadata(shape), b"", [], 0
    for key, value in entries.items():
        head += _string(key) + value
    for name, content in _tensors(shape):
        matrix = isinstance(content, tuple)
        extents = content if matrix else (len(content),)
        size = math.prod(extents) * (2 if matrix else 4)
        head += _string(name) + struct.pack("<I", len(extents))
        head += b"".join(struct.pack("<Q", extent) for extent in reversed(extents))
        head += struct.pack("<IQ", _BF16 if matrix else _F32, offset)
        placed.append((offset, size, content))
        offset += _padded(size)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(placed), len(entries)) + head
    return head + bytes(_padded(len(head)) - len(head)), placed, offset


def file_bytes(shape):
    head, _, data_bytes = _layout(shape)
    return len(head) + data_bytes


def _random_bf16(seed):
    """The upper halves of normal F32 numbers."""
    numbers = random.Random(seed)
    values = array.array("f", (numbers.gauss(0, _DEVIATION) for _ in range(_POOL_VALUES)))
    if sys.byteorder == "big":
        values.byteswap()
    data, halves = values.tobytes(), bytearray(2 * _POOL_VALUES)
    halves[0::2], halves[1::2] = data[2::4], data[3::4]
    return memoryview(bytes(halves))


def write(path, shape, seed=1, weights=True):
    """`path` appears only when it is whole. Without `weights` there are holes in place of matrices."""
    head, placed, data_bytes = _layout(shape)
    part = f"{path}.part"
    with open(part, "wb") as file:
        file.write(head)
        pool, at = (_random_bf16(seed) if weights else None), 0
        for offset, size, content in placed:
            file.seek(len(head) + offset)
            if not isinstance(content, tuple):
                file.write(struct.pack(f"<{len(content)}f", *content))
                continue
            while pool and size > 0:
                piece = pool[at:at + size]
                file.write(piece)
                size -= len(piece)
                at = (at + len(piece)) % len(pool)
        file.truncate(len(head) + data_bytes)
    os.replace(part, path)
