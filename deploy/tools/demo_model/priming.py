"""Starts the model from an induction circuit instead of waiting for one to form.

Everything stays ordinary, trainable weights. Layer 0 attends by position alone (1, 2, 3... tokens
back), layer 1 looks for the current token among the tokens before each key and copies what it finds
there towards the tied token table, layer 2 attends to equal tokens. Without this the small model
stays for a million tokens on guessing any answer of the right kind. The circuit is described by
Olsson et al., "In-context Learning and Induction Heads" (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from model import DemoModel, ModelShape

CONSTANT = 4.0        # channel 0 of every token, in units of the other channels' size
POSITION_GAIN = 1.7   # queries and keys of layer 0 on the fast half of the rotations
SLOW, FAST = 2.0, 0.5  # contents are matched mostly on the slow half, which distance changes little


def _orthonormal(rows: int, columns: int) -> Tensor:
  return torch.linalg.qr(torch.randn(rows, columns))[0]


def _frequency_gains(shape: ModelShape) -> Tensor:
  half = shape.head_dim // 2
  slow = torch.arange(shape.head_dim) % half >= half // 2
  return torch.where(slow, SLOW, FAST)[:, None]


def _prime_positions(model: DemoModel, read: Tensor, write: Tensor) -> None:
  shape, layer = model.shape, model.block(0)
  dim, half = shape.head_dim, shape.head_dim // 2
  frequencies = shape.rope_theta**(-torch.arange(0, dim, 2) / dim)
  gain = torch.where(torch.arange(half) < half // 2, POSITION_GAIN, 0.0)
  q, k = layer.q_proj.view(shape.heads, dim, -1), layer.k_proj.view(shape.groups, dim, -1)
  q.mul_(0.1)
  k.mul_(0.1)
  k[:, :half, 0], k[:, half:, 0] = gain, 0.0
  layer.v_proj.view(shape.groups, dim, -1).copy_(read.expand(shape.groups, -1, -1))
  for head in range(shape.heads):
    q[head, :half, 0] = gain * (frequencies * (head + 1)).cos()
    q[head, half:, 0] = -gain * (frequencies * (head + 1)).sin()
  layer.o_proj.copy_(write)


def _prime_induction(model: DemoModel, read: Tensor, written: Tensor) -> None:
  shape, layer = model.shape, model.block(1)
  dim, gains = shape.head_dim, _frequency_gains(shape)
  copied = _orthonormal(shape.hidden, dim)
  copied[0] = 0
  layer.k_proj.view(shape.groups, dim, -1).copy_((written.t() * gains).expand(shape.groups, -1, -1))
  layer.v_proj.view(shape.groups, dim, -1).copy_(copied.t().expand(shape.groups, -1, -1))
  noise = torch.randn(shape.heads, dim, shape.hidden) * shape.hidden**-0.5
  layer.q_proj.view(shape.heads, dim, -1).copy_(read * gains + 0.1 * noise)
  layer.o_proj.copy_(copied.repeat(1, shape.heads) / shape.heads)


@torch.no_grad()
def prime(model: DemoModel) -> None:
  shape = model.shape
  model.embed_tokens[:, 0] = CONSTANT / shape.hidden**0.5
  read = torch.randn(shape.head_dim, shape.hidden) * shape.hidden**-0.5
  read[:, 0] = 0
  write = _orthonormal(shape.hidden, shape.heads * shape.head_dim)
  _prime_positions(model, read, write)
  _prime_induction(model, read, write[:, :shape.head_dim])
  layer = model.block(2)
  keys = layer.k_proj[:shape.head_dim] * _frequency_gains(shape)
  layer.k_proj.copy_(keys.repeat(shape.groups, 1))
  layer.q_proj.copy_((keys * _frequency_gains(shape)).repeat(shape.heads, 1))
