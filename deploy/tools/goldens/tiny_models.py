"""Tiny random LlamaForCausalLM checkpoints, one for each way in which checkpoints differ."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB = 128
LAYERS = 2
# Sizes of the random weights, large enough that logits and attention are well spread.
MATRIX_STD = 0.2
TABLE_STD = 0.5


@dataclasses.dataclass(frozen=True)
class TinyModel:
  """One checkpoint; `rope` holds the entries of config.json about positions."""

  name: str
  seed: int
  heads: int
  groups: int
  head_dim: int = 16
  hidden: int = 64
  intermediate: int = 80
  dtype: torch.dtype = torch.float32
  tied: bool = True
  bias: bool = False
  shards: int = 1
  rope: dict = dataclasses.field(default_factory=lambda: {"rope_theta": 10000.0})

  def config(self) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "torch_dtype": str(self.dtype).removeprefix("torch."), "vocab_size": VOCAB,
        "hidden_size": self.hidden, "intermediate_size": self.intermediate,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": self.heads, "num_key_value_heads": self.groups,
        "head_dim": self.head_dim, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "attention_bias": self.bias, "mlp_bias": False,
        "tie_word_embeddings": self.tied, "bos_token_id": 0, "eos_token_id": 0, **self.rope}


MODELS = (
    TinyModel("mha", seed=11, heads=4, groups=4),
    TinyModel("gqa_wide_f16", seed=12, heads=6, groups=2, head_dim=32, hidden=96, intermediate=64,
              dtype=torch.float16),
    # Positions written the way transformers 5 writes them.
    TinyModel("mqa_untied_sharded", seed=13, heads=4, groups=1, tied=False, shards=2,
              rope={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}),
    # Short original context: the frequencies fall into all three bands of the scaling.
    TinyModel("gqa_llama3_bias", seed=14, heads=4, groups=2, bias=True,
              rope={"rope_theta": 500000.0,
                    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 64}}),
)


def _random_weight(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
  """Norms and biases are representable in BF16, so it does not matter whether a reader of the
  checkpoint rounds them."""
  noise = torch.randn(like.shape, generator=generator)
  if name.endswith("norm.weight"):
    return (1 + 0.3 * noise).bfloat16().float()
  if name.endswith("bias"):
    return (MATRIX_STD * noise).bfloat16().float()
  return noise * (TABLE_STD if "embed_tokens" in name or "lm_head" in name else MATRIX_STD)


def _save_weights(folder: pathlib.Path, weights: dict[str, Tensor], shards: int) -> None:
  if shards == 1:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return
  names, index = sorted(weights), {}
  for shard in range(shards):
    file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
    part = {name: weights[name] for name in names[shard::shards]}
    save_file(part, folder / file, metadata={"format": "pt"})
    index.update({name: file for name in part})
  total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
  (folder / "model.safetensors.index.json").write_text(
      json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2) + "\n")


def write_tiny_model(model: TinyModel, folder: pathlib.Path) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  for old in folder.iterdir():
    old.unlink()
  (folder / "config.json").write_text(json.dumps(model.config(), indent=2) + "\n")
  network = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
  generator = torch.Generator().manual_seed(model.seed)
  weights = {name: _random_weight(name, like, generator).to(model.dtype)
             for name, like in network.state_dict().items()
             if not (model.tied and name == "lm_head.weight")}
  _save_weights(folder, weights, model.shards)
  for file in folder.iterdir():
    file.chmod(0o644)


def tiny_prompts(seed: int) -> list[list[int]]:
  """Token ids of lengths that end before, on and after a block of 16 and go beyond a few blocks."""
  generator = torch.Generator().manual_seed(seed)
  return [torch.randint(1, VOCAB, (length,), generator=generator).tolist()
          for length in (1, 5, 16, 33, 90)]
