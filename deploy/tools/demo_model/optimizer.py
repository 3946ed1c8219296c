"""Muon (Jordan et al., 2024) on the layers' matrices, AdamW on the token table and the norms."""

from __future__ import annotations

import torch

from model import DemoModel


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
