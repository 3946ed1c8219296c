"""Layers quantized as GPTQ, AWQ and FP8 safetensors checkpoints store them, and their values.

Each `quantize_*` makes the tensors of one layer from a weight [outputs, inputs]; each `dequantize_*`
computes the layer's float32 values from those tensors alone, by the formula of the format. How good
the quantization is does not matter here, so scales are simple ones.
"""

from __future__ import annotations

import numpy as np
import torch

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the output that each nibble of a word holds, from the lowest


def _codes(weight: np.ndarray, bits: int, group: np.ndarray, symmetric: bool,
           rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Codes [inputs, outputs], zero points and FP16 scales [groups, outputs]."""
  transposed, groups = weight.T.astype(np.float32), int(group.max()) + 1
  largest = 2**bits - 1
  scales = np.zeros((groups, weight.shape[0]), np.float16)
  zeros = np.full((groups, weight.shape[0]), 2**(bits - 1), np.int64)
  for g in range(groups):
    scales[g] = np.abs(transposed[group == g]).max(axis=0) * 2 / largest
  if not symmetric:
    zeros = rng.integers(1, largest + 2, zeros.shape)
  codes = np.rint(transposed / scales[group].astype(np.float32)) + zeros[group]
  return np.clip(codes, 0, largest).astype(np.int64), zeros, scales


def _pack(codes: np.ndarray, bits: int, order: tuple[int, ...]) -> np.ndarray:
  """Packs along the last axis: place p of a word takes the code order[p] of its run."""
  per_word = 32 // bits
  runs = codes.reshape(*codes.shape[:-1], -1, per_word).astype(np.uint64)
  words = np.zeros(runs.shape[:-1], np.uint64)
  for place in range(per_word):
    words |= runs[..., order[place]] << np.uint64(bits * place)
  return words.astype(np.uint32).view(np.int32)


def _unpack(words: np.ndarray, bits: int, order: tuple[int, ...]) -> np.ndarray:
  per_word = 32 // bits
  codes = np.zeros((*words.shape, per_word), np.int64)
  for place in range(per_word):
    codes[..., order[place]] = (words.view(np.uint32) >> np.uint32(bits * place)) & (2**bits - 1)
  return codes.reshape(*words.shape[:-1], -1)


def quantize_gptq(weight: np.ndarray, bits: int, group_size: int, act_order: bool, symmetric: bool,
                  version: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
  inputs = weight.shape[1]
  group = np.arange(inputs) // (inputs if group_size == -1 else group_size)
  if act_order:
    group = rng.permutation(group)
  codes, zeros, scales = _codes(weight, bits, group, symmetric, rng)
  order = tuple(range(32 // bits))
  # The first version keeps the zero point less one, so none of its codes is the zero point 0.
  stored = zeros - 1 if version == 1 else np.minimum(zeros, 2**bits - 1)
  return {"qweight": np.ascontiguousarray(_pack(codes.T, bits, order).T),
          "qzeros": _pack(stored, bits, order), "scales": scales,
          "g_idx": group.astype(np.int32)}


def dequantize_gptq(layer: dict[str, np.ndarray], bits: int, version: int) -> np.ndarray:
  order = tuple(range(32 // bits))
  codes = _unpack(np.ascontiguousarray(layer["qweight"].T), bits, order).T
  zeros = _unpack(layer["qzeros"], bits, order) + (1 if version == 1 else 0)
  group = layer["g_idx"]
  values = (codes - zeros[group]).astype(np.float32) * layer["scales"][group].astype(np.float32)
  return np.ascontiguousarray(values.T)


def quantize_awq(weight: np.ndarray, group_size: int,
                 rng: np.random.Generator) -> dict[str, np.ndarray]:
  group = np.arange(weight.shape[1]) // group_size
  codes, zeros, scales = _codes(weight, 4, group, False, rng)
  return {"qweight": _pack(codes, 4, AWQ_ORDER),
          "qzeros": _pack(np.minimum(zeros, 15), 4, AWQ_ORDER), "scales": scales}


def dequantize_awq(layer: dict[str, np.ndarray], group_size: int) -> np.ndarray:
  codes = _unpack(layer["qweight"], 4, AWQ_ORDER)
  zeros = _unpack(layer["qzeros"], 4, AWQ_ORDER)
  group = np.arange(codes.shape[0]) // group_size
  values = (codes - zeros[group]).astype(np.float32) * layer["scales"][group].astype(np.float32)
  return np.ascontiguousarray(values.T)


def fp8_values() -> np.ndarray:
  """The value of each byte as E4M3 without infinities."""
  values = np.zeros(256, np.float32)
  for code in range(256):
    exponent, fraction = code >> 3 & 15, code & 7
    size = fraction * 2.0**-9 if exponent == 0 else (8 + fraction) * 2.0**(exponent - 10)
    values[code] = np.nan if code & 127 == 127 else (-size if code & 128 else size)
  return values


def _blocks(shape: tuple[int, int], block: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  return np.arange(shape[0])[:, None] // block[0], np.arange(shape[1])[None, :] // block[1]


def quantize_fp8(weight: np.ndarray, block: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Codes as bytes, and scales [row blocks, column blocks]."""
  rows, cols = _blocks(weight.shape, block)
  scales = np.zeros((rows.max() + 1, cols.max() + 1), np.float32)
  np.maximum.at(scales, (rows, cols), np.abs(weight) / np.float32(448))
  scaled = torch.from_numpy(weight / scales[rows, cols]).to(torch.float8_e4m3fn)
  return scaled.view(torch.uint8).numpy(), scales


def dequantize_fp8(codes: np.ndarray, scales: np.ndarray, block: tuple[int, int]) -> np.ndarray:
  rows, cols = _blocks(codes.shape, block)
  return fp8_values()[codes] * scales.astype(np.float32)[rows, cols]
