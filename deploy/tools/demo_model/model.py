"""The demo model for training: LlamaForCausalLM's mathematics in operations that are fast on a CPU.

Differs from LlamaForCausalLM in one point: the token table has entries of size d^-0.5 and the input
is scaled by sqrt(d), which keeps the optimizer's step sizes alike. export.py folds the scale away.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention import CausalAttention


@dataclasses.dataclass(frozen=True)
class ModelShape:
  """Sizes of the model; `groups` is the number of key/value heads."""

  vocab: int = 768
  hidden: int = 192
  layers: int = 4
  heads: int = 6
  groups: int = 2
  head_dim: int = 32
  intermediate: int = 384
  rope_theta: float = 10000.0
  norm_eps: float = 1e-5


def rope_tables(shape: ModelShape, length: int) -> tuple[Tensor, Tensor]:
  """cos and sin, each [length, head_dim / 2]."""
  exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
  angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_theta**-exponents)
  return angles.cos(), angles.sin()


class Block(nn.Module):
  """Pre-norm attention and SwiGLU; parameters are named as in LlamaForCausalLM, without nesting."""

  def __init__(self, shape: ModelShape):
    super().__init__()
    self.shape = shape
    wide, narrow = shape.heads * shape.head_dim, shape.groups * shape.head_dim
    depth = (2 * shape.layers)**-0.5

    def matrix(rows: int, columns: int, scale: float = 1.0) -> nn.Parameter:
      return nn.Parameter(torch.randn(rows, columns) * columns**-0.5 * scale)

    self.q_proj = matrix(wide, shape.hidden)
    self.k_proj = matrix(narrow, shape.hidden)
    self.v_proj = matrix(narrow, shape.hidden)
    self.o_proj = matrix(shape.hidden, wide, depth)
    self.gate_proj = matrix(shape.intermediate, shape.hidden)
    self.up_proj = matrix(shape.intermediate, shape.hidden)
    self.down_proj = matrix(shape.hidden, shape.intermediate, depth)
    self.input_layernorm = nn.Parameter(torch.ones(shape.hidden))
    self.post_attention_layernorm = nn.Parameter(torch.ones(shape.hidden))

  def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    x = x + F.linear(self._attend(self._norm(x, self.input_layernorm), cos, sin), self.o_proj)
    y = F.linear(self._norm(x, self.post_attention_layernorm),
                 torch.cat((self.gate_proj, self.up_proj)))
    gate, up = y.chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, self.down_proj)

  def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x.float(), (self.shape.hidden,), weight, self.shape.norm_eps)

  def _attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    shape, (batch, length, _) = self.shape, x.shape
    qkv = F.linear(x, torch.cat((self.q_proj, self.k_proj, self.v_proj)))
    qkv = qkv.view(batch, length, shape.heads + 2 * shape.groups, shape.head_dim)
    first, second = qkv[:, :, :shape.heads + shape.groups].chunk(2, -1)
    qk = torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(qkv.dtype)
    per_group, rows = shape.heads // shape.groups, batch * shape.groups
    q = (qk[:, :, :shape.heads] * shape.head_dim**-0.5).transpose(1, 2)
    k = qk[:, :, shape.heads:].transpose(1, 2)
    v = qkv[:, :, shape.heads + shape.groups:].transpose(1, 2)
    out = CausalAttention.apply(q.reshape(rows, per_group, length, shape.head_dim),
                                k.reshape(rows, length, shape.head_dim),
                                v.reshape(rows, length, shape.head_dim))
    out = out.view(batch, shape.heads, length, shape.head_dim).transpose(1, 2)
    return out.reshape(batch, length, shape.heads * shape.head_dim)


class DemoModel(nn.Module):
  """Maps token ids [batch, length] to final hidden states [batch, length, hidden].

  Logits are the hidden states times `embed_tokens` transposed (tied).
  """

  def __init__(self, shape: ModelShape, max_length: int = 2048):
    super().__init__()
    self.shape = shape
    self.embed_tokens = nn.Parameter(torch.randn(shape.vocab, shape.hidden) * shape.hidden**-0.5)
    self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
    self.norm = nn.Parameter(torch.ones(shape.hidden))
    cos, sin = rope_tables(shape, max_length)
    self._cos, self._sin = cos[:, None], sin[:, None]

  def block(self, index: int) -> Block:
    return cast(Block, self.layers[index])

  def forward(self, ids: Tensor) -> Tensor:
    length = ids.shape[1]
    x = F.embedding(ids, self.embed_tokens) * self.shape.hidden**0.5
    for layer in self.layers:
      x = layer(x, self._cos[:length], self._sin[:length])
    return F.rms_norm(x.float(), (self.shape.hidden,), self.norm, self.shape.norm_eps)
