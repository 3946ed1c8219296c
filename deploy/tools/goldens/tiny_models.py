"""Tiny random checkpoints, one for each way in which checkpoints differ."""

from __future__ import annotations

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import Tensor

from .architecture_models import ARCHITECTURE_MODELS
from .reference import checkpoint_tensors, new_model
from .tiny_model import TinyModel

VOCAB = 128
# Sizes of the random weights, large enough that logits and attention are well spread.
MATRIX_STD = 0.2
TABLE_STD = 0.5
TABLES = ("embed_tokens", "token_embeddings", "lm_head")


def _llama(name: str, seed: int, heads: int, groups: int, *, head_dim: int = 16, hidden: int = 64,
           intermediate: int = 80, dtype: torch.dtype = torch.float32, tied: bool = True,
           bias: bool = False, shards: int = 1, rope: dict | None = None) -> TinyModel:
  """`rope` holds the entries of config.json about positions."""
  config = {
      "architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "torch_dtype": str(dtype).removeprefix("torch."), "vocab_size": VOCAB, "hidden_size": hidden,
      "intermediate_size": intermediate, "num_hidden_layers": 2,
      "num_attention_heads": heads, "num_key_value_heads": groups, "head_dim": head_dim,
      "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu",
      "attention_bias": bias, "mlp_bias": False, "tie_word_embeddings": tied, "bos_token_id": 0,
      "eos_token_id": 0, **(rope or {"rope_theta": 10000.0})}
  return TinyModel(name, seed, config, lengths=(1, 5, 16, 33, 90), shards=shards)


LLAMA_MODELS = (
    _llama("mha", 11, heads=4, groups=4),
    _llama("gqa_wide_f16", 12, heads=6, groups=2, head_dim=32, hidden=96, intermediate=64,
           dtype=torch.float16),
    # Positions written the way transformers 5 writes them.
    _llama("mqa_untied_sharded", 13, heads=4, groups=1, tied=False, shards=2,
           rope={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}),
    # Short original context: the frequencies fall into all three bands of the scaling.
    _llama("gqa_llama3_bias", 14, heads=4, groups=2, bias=True,
           rope={"rope_theta": 500000.0,
                 "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0,
                                  "original_max_position_embeddings": 64}}),
)
MODELS = LLAMA_MODELS + ARCHITECTURE_MODELS


def _random_weight(name: str, like: Tensor, generator: torch.Generator, one: float) -> Tensor:
  """Norms and biases are representable in BF16, so it does not matter whether a reader of the
  checkpoint rounds them. `one` is what a norm that changes nothing stores."""
  noise = torch.randn(like.shape, generator=generator)
  if name.endswith("norm.weight"):
    return (one + 0.3 * noise).bfloat16().float()
  if name.endswith("bias"):
    return (MATRIX_STD * noise).bfloat16().float()
  return noise * (TABLE_STD if any(table in name for table in TABLES) else MATRIX_STD)


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
  (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n")
  generator = torch.Generator().manual_seed(model.seed)
  one = 0.0 if "Gemma" in model.config["architectures"][0] else 1.0
  weights = {name: _random_weight(name, like, generator, one).to(model.dtype)
             for name, like in checkpoint_tensors(new_model(folder)).items()}
  _save_weights(folder, weights, model.shards)
  for file in folder.iterdir():
    file.chmod(0o644)


def tiny_prompts(model: TinyModel) -> list[list[int]]:
  """Token ids of lengths that end before, on and after a block of 16 and go beyond a few blocks."""
  generator = torch.Generator().manual_seed(model.seed)
  vocab = model.config["vocab_size"]
  return [torch.randint(1, vocab, (length,), generator=generator).tolist()
          for length in model.lengths]
