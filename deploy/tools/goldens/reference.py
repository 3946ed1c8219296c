"""The reference for a checkpoint: transformers' own class, or one put together from its layers.

DeciLM-7B, the Nemotron-NAS models and OpenELM come with code of their own, which is not run here.
Their layers are Llama's (OpenELM's also normalise heads, as Qwen 3's do), only not all of one size;
so each layer here is made of transformers' attention, feed-forward block and norms with a
configuration of its own. What the names and sizes in their config.json mean follows the published
code of each.
"""

from __future__ import annotations

import json
import pathlib
import types

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen3Config
from transformers.models.llama.modeling_llama import (LlamaAttention, LlamaMLP, LlamaRMSNorm,
                                                      LlamaRotaryEmbedding)
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention

LAYERED = ("DeciLMForCausalLM", "OpenELMForCausalLM")


def _round_up(size: int, unit: int) -> int:
  return (size + unit - 1) // unit * unit


def _deci_layers(config: dict) -> list[tuple[int, int, int]]:
  """Heads, groups and feed-forward size of each layer; 0 groups or 0 size: no such block."""
  heads = config["num_attention_heads"]
  if "block_configs" not in config:
    return [(heads, groups, config["intermediate_size"])
            for groups in config["num_key_value_heads_per_layer"]]
  layers = []
  for block in config["block_configs"]:
    attention, ffn = block["attention"], block["ffn"]
    groups = 0 if attention["no_op"] else heads // attention["n_heads_in_group"]
    size = 0 if ffn["no_op"] else _round_up(
        int(2 * ffn["ffn_mult"] * config["hidden_size"] / 3), 256)
    layers.append((heads, groups, size))
  return layers


def _openelm_size(wanted: float, unit: int) -> int:
  size = max(unit, int(wanted + unit / 2) // unit * unit)
  return size + unit if size < 0.9 * wanted else size


def _openelm_layers(config: dict) -> list[tuple[int, int, int]]:
  sizes = [_openelm_size(multiplier * config["model_dim"], config["ffn_dim_divisor"])
           for multiplier in config["ffn_multipliers"]]
  return list(zip(config["num_query_heads"], config["num_kv_heads"], sizes))


class _Layer(nn.Module):

  def __init__(self, config: LlamaConfig, head_norms: bool, groups: int, size: int):
    super().__init__()
    self.input_layernorm = self.self_attn = self.post_attention_layernorm = self.mlp = None
    if groups > 0:
      self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
      self.self_attn = (Qwen3Attention if head_norms else LlamaAttention)(config, layer_idx=0)
    if size > 0:
      self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
      self.mlp = LlamaMLP(config)

  def forward(self, x: Tensor, positions: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    if self.self_attn is not None:
      x = x + self.self_attn(self.input_layernorm(x), position_embeddings=positions,
                             attention_mask=mask)[0]
    return x if self.mlp is None else x + self.mlp(self.post_attention_layernorm(x))


class LayeredModel(nn.Module):
  """A decoder whose layers differ, with the checkpoint names of its architecture."""

  def __init__(self, config: dict):
    super().__init__()
    self.openelm = config["architectures"] == ["OpenELMForCausalLM"]
    shapes = _openelm_layers(config) if self.openelm else _deci_layers(config)
    hidden = config["model_dim" if self.openelm else "hidden_size"]
    shared = {
        "vocab_size": config["vocab_size"], "hidden_size": hidden, "head_dim": config["head_dim"],
        "rms_norm_eps": 1e-6 if self.openelm else config["rms_norm_eps"],
        "rope_theta": float(config["rope_freq_constant" if self.openelm else "rope_theta"]),
        "rope_scaling": config.get("rope_scaling"), "max_position_embeddings": 512,
        "attention_bias": False, "mlp_bias": False, "attn_implementation": "eager"}
    make = Qwen3Config if self.openelm else LlamaConfig
    configs = [make(num_attention_heads=heads, num_key_value_heads=max(groups, 1),
                    intermediate_size=max(size, 1), **shared) for heads, groups, size in shapes]
    self.embed_tokens = nn.Embedding(config["vocab_size"], hidden)
    self.layers = nn.ModuleList(_Layer(layer, self.openelm, groups, size)
                                for layer, (_, groups, size) in zip(configs, shapes))
    self.norm = LlamaRMSNorm(hidden, eps=shared["rms_norm_eps"])
    self.tied = config.get("tie_word_embeddings", True)
    self.lm_head = None if self.tied else nn.Linear(hidden, config["vocab_size"], bias=False)
    self.rotary_emb = LlamaRotaryEmbedding(configs[0])

  def forward(self, ids: Tensor) -> types.SimpleNamespace:
    x = self.embed_tokens(ids)
    length = ids.shape[1]
    positions = self.rotary_emb(x, torch.arange(length)[None])
    mask = torch.full((length, length), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)
    for layer in self.layers:
      x = layer(x, positions, mask[None, None])
    head = self.embed_tokens if self.tied else self.lm_head
    return types.SimpleNamespace(logits=nn.functional.linear(self.norm(x), head.weight))

  def _stored_name(self, name: str) -> str:
    if self.openelm:
      for ours, theirs in _OPENELM_NAMES:
        name = name.replace(ours, theirs)
      return f"transformer.{name}"
    return name if name == "lm_head.weight" else f"model.{name}"

  def checkpoint_tensors(self) -> dict[str, Tensor]:
    """By the architecture's own names; what is stored stacked is stacked."""
    tensors: dict[str, Tensor] = {}
    for own_name, tensor in self.state_dict().items():
      name = self._stored_name(own_name)
      tensors[name] = torch.cat([tensors[name], tensor]) if name in tensors else tensor
    return tensors

  def load_checkpoint(self, tensors: dict[str, Tensor]) -> None:
    taken = dict.fromkeys(tensors, 0)  # rows that have been given out
    for own_name, own in self.state_dict().items():
      name = self._stored_name(own_name)
      begin, taken[name] = taken[name], taken[name] + own.shape[0]
      own.copy_(tensors[name][begin:taken[name]])
    assert all(taken[name] == tensors[name].shape[0] for name in tensors)


# In the order in which state_dict() has them: Q, K, V and gate, up come one after the other.
_OPENELM_NAMES = (
    ("embed_tokens", "token_embeddings"), ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"), ("self_attn.q_proj", "attn.qkv_proj"),
    ("self_attn.k_proj", "attn.qkv_proj"), ("self_attn.v_proj", "attn.qkv_proj"),
    ("self_attn.o_proj", "attn.out_proj"), ("self_attn.q_norm", "attn.q_norm"),
    ("self_attn.k_norm", "attn.k_norm"), ("mlp.gate_proj", "ffn.proj_1"),
    ("mlp.up_proj", "ffn.proj_1"), ("mlp.down_proj", "ffn.proj_2"))


def _config(folder: pathlib.Path) -> dict:
  return json.loads((folder / "config.json").read_text())


def _is_layered(folder: pathlib.Path) -> bool:
  return _config(folder)["architectures"][0] in LAYERED


def new_model(folder: pathlib.Path) -> nn.Module:
  """With weights that do not matter."""
  if _is_layered(folder):
    return LayeredModel(_config(folder))
  return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def checkpoint_tensors(model: nn.Module) -> dict[str, Tensor]:
  """What a checkpoint of the model holds, by name."""
  if isinstance(model, LayeredModel):
    return model.checkpoint_tensors()
  tied = model.config.tie_word_embeddings
  return {name: tensor for name, tensor in model.state_dict().items()
          if not (tied and name == "lm_head.weight")}


@torch.no_grad()
def load_model(folder: pathlib.Path, dtype: torch.dtype = torch.float32) -> nn.Module:
  """Parameters in `dtype`, rotation frequencies in float32."""
  if not _is_layered(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype,
                                                attn_implementation="eager").eval()
  model = LayeredModel(_config(folder)).eval()
  model.load_checkpoint(load_file(folder / "model.safetensors"))
  for parameter in model.parameters():
    parameter.data = parameter.data.to(dtype)
  return model
