"""GGUF files, their blocks and the values of those; written from the format's description."""

from __future__ import annotations

import struct

import numpy as np

# Number of each type in a file, elements and bytes of a block.
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q8_0": (8, 32, 34),
         "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q6_K": (14, 256, 210)}
ALIGNMENT = 32


def _half(values: np.ndarray) -> np.ndarray:
  return values.astype(np.float16).view(np.uint8).reshape(-1, 2)


def _nibbles(codes: np.ndarray) -> np.ndarray:
  return (codes[:, :16] | codes[:, 16:] << 4).astype(np.uint8)


def encode(values: np.ndarray, kind: str) -> bytes:
  """Stores float32 values, a multiple of the block's elements a row."""
  values = np.ascontiguousarray(values, np.float32)
  if kind == "F32":
    return values.tobytes()
  if kind == "F16":
    return values.astype(np.float16).tobytes()
  if kind == "BF16":
    bits = values.view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()
  blocks = values.reshape(-1, 32)
  largest = np.abs(blocks).max(axis=1, keepdims=True)
  if kind == "Q8_0":
    scale = largest / 127
    codes = np.rint(blocks / scale).astype(np.int8).view(np.uint8)
    return np.hstack([_half(scale), codes]).tobytes()
  if kind == "Q4_0":
    scale = largest / -8
    codes = np.clip(np.rint(blocks / scale) + 8, 0, 15).astype(np.uint8)
    return np.hstack([_half(scale), _nibbles(codes)]).tobytes()
  if kind == "Q4_1":
    low = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - low) / 15
    codes = np.clip(np.rint((blocks - low) / scale), 0, 15).astype(np.uint8)
    return np.hstack([_half(scale), _half(low), _nibbles(codes)]).tobytes()
  raise ValueError(kind)


def random_q6_k(blocks: int, rng: np.random.Generator) -> bytes:
  """Blocks of any codes and scales, with a scale of the scales that is a number."""
  data = rng.integers(0, 256, (blocks, 210), np.uint8)
  data[:, 208:] = _half(rng.normal(0, 0.01, blocks))
  return data.tobytes()


def decode(data: bytes, kind: str) -> np.ndarray:
  """All values of a tensor in float32."""
  if kind in ("F32", "F16"):
    return np.frombuffer(data, np.float32 if kind == "F32" else np.float16).astype(np.float32)
  if kind == "BF16":
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
  blocks = np.frombuffer(data, np.uint8).reshape(-1, TYPES[kind][2])
  half = lambda at: np.ascontiguousarray(blocks[:, at:at + 2]).view(np.float16).astype(np.float32)
  nibbles = lambda at: np.hstack([blocks[:, at:] & 15, blocks[:, at:] >> 4]).astype(np.float32)
  if kind == "Q8_0":
    values = half(0) * blocks[:, 2:].view(np.int8).astype(np.float32)
  elif kind == "Q4_0":
    values = half(0) * (nibbles(2) - np.float32(8))
  elif kind == "Q4_1":
    values = half(0) * nibbles(4) + half(2)
  else:
    values = _decode_q6_k(blocks, half(208))
  return values.reshape(-1)


def _decode_q6_k(blocks: np.ndarray, scale: np.ndarray) -> np.ndarray:
  values = np.zeros((len(blocks), 256), np.float32)
  steps = scale * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
  for i in range(256):
    half, quarter, lane = i // 128, i % 128 // 32, i % 32
    low = blocks[:, half * 64 + (quarter & 1) * 32 + lane] >> (4 * (quarter >> 1)) & 15
    high = blocks[:, 128 + half * 32 + lane] >> (2 * quarter) & 3
    code = (low | high << 4).astype(np.float32) - np.float32(32)
    values[:, i] = steps[:, i // 16] * code
  return values


def _string(text: str) -> bytes:
  data = text.encode()
  return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
  """The type's number and the value; lists are arrays of their elements."""
  if isinstance(value, bool):
    return struct.pack("<I?", 7, value)
  if isinstance(value, int):
    return struct.pack("<Ii", 5, value) if value < 0 else struct.pack("<II", 4, value)
  if isinstance(value, float):
    return struct.pack("<If", 6, value)
  if isinstance(value, str):
    return struct.pack("<I", 8) + _string(value)
  elements = [_value(element) for element in value]
  return (struct.pack("<I", 9) + elements[0][:4] + struct.pack("<Q", len(elements)) +
          b"".join(element[4:] for element in elements))


def file_bytes(metadata: dict[str, object],
               tensors: dict[str, tuple[str, tuple[int, ...], bytes]], version: int = 3) -> bytes:
  """A whole file; a tensor is its type, its shape with rows last to be counted, and its bytes."""
  head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
  for key, value in metadata.items():
    head += _string(key) + _value(value)
  offset, data = 0, b""
  for name, (kind, shape, content) in tensors.items():
    head += _string(name) + struct.pack("<I", len(shape))
    head += b"".join(struct.pack("<Q", size) for size in reversed(shape))
    head += struct.pack("<IQ", TYPES[kind][0], offset)
    data += content + bytes(-len(content) % ALIGNMENT)
    offset = len(data)
  return head + bytes(-len(head) % ALIGNMENT) + data


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
  """The order in which llama.cpp's converter writes queries and keys of Llama models."""
  half = rows.shape[0] // heads // 2
  return np.ascontiguousarray(
      rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))


def restore(rows: np.ndarray, heads: int) -> np.ndarray:
  half = rows.shape[0] // heads // 2
  return np.ascontiguousarray(
      rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))
