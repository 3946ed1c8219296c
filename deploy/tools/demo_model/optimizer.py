"""Muon (Jordan et al., 2024) on the layers' matrices, AdamW on the token table and the norms."""

from __future__ import annotations

import torch
from torch import Tensor

from model import DemoModel
from precision import HAS_BF16


def _orthogonal(grad: Tensor, coefficients: tuple[float, float, float], steps: int,
                eps: float) -> Tensor:
  """The Newton-Schulz iteration of torch.optim.Muon, in the gradient's own type."""
  a, b, c = coefficients
  x = grad / grad.norm().clamp(min=eps)
  tall = x.shape[0] > x.shape[1]
  x = x.T if tall else x
  for _ in range(steps):
    gram = x @ x.T
    x = a * x + (b * gram + c * gram @ gram) @ x
  return x.T if tall else x


if not HAS_BF16:
  torch.optim._muon._zeropower_via_newtonschulz = _orthogonal  # which is BF16 whatever the gradient


class MuonAdamW:
  """Two optimizers stepped together; both learning rates follow one factor."""

  def __init__(self, model: DemoModel, muon_lr: float, adamw_lr: float, decay: float):
    matrices = [p for layer in model.layers for p in layer.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    self._parameters = list(model.parameters())
    self._rates = (muon_lr, adamw_lr)
    self._optimizers = (
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=decay / muon_lr, momentum=0.95),
        torch.optim.AdamW([{"params": [model.embed_tokens], "weight_decay": decay / adamw_lr},
                           {"params": norms, "weight_decay": 0.0}],
                          lr=adamw_lr, betas=(0.9, 0.95), fused=True))

  def step(self, factor: float) -> None:
    torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
    for optimizer, rate in zip(self._optimizers, self._rates):
      for group in optimizer.param_groups:
        group["lr"] = rate * factor
      optimizer.step()
      optimizer.zero_grad()

  def state_dict(self) -> list[dict]:
    return [optimizer.state_dict() for optimizer in self._optimizers]

  def load_state_dict(self, states: list[dict]) -> None:
    for optimizer, state in zip(self._optimizers, states):
      optimizer.load_state_dict(state)
