"""Writes a training checkpoint as a standard Hugging Face LlamaForCausalLM folder in BF16.

  python export.py --checkpoint RUN/best.pt --out deploy/models/quire-demo
"""

from __future__ import annotations

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import Tensor

from model import ModelShape
from tokenizer import END, END_ID

MAX_POSITIONS = 2048
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
NORMS = ("input_layernorm", "post_attention_layernorm")


def config(shape: ModelShape) -> dict:
  return {
      "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
      "vocab_size": shape.vocab, "hidden_size": shape.hidden,
      "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
      "num_attention_heads": shape.heads, "num_key_value_heads": shape.groups,
      "head_dim": shape.head_dim, "max_position_embeddings": MAX_POSITIONS,
      "rms_norm_eps": shape.norm_eps, "rope_theta": shape.rope_theta, "rope_scaling": None,
      "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
      "initializer_range": 0.02, "tie_word_embeddings": True, "use_cache": True,
      "bos_token_id": END_ID, "eos_token_id": END_ID}


def llama_names(shape: ModelShape) -> dict[str, str]:
  """What LlamaForCausalLM calls each parameter."""
  names = {"embed_tokens": "model.embed_tokens.weight", "norm": "model.norm.weight"}
  for layer in range(shape.layers):
    for folder, parts in (("self_attn.", ATTENTION), ("mlp.", MLP), ("", NORMS)):
      for part in parts:
        names[f"layers.{layer}.{part}"] = f"model.layers.{layer}.{folder}{part}.weight"
  return names


def scales(shape: ModelShape) -> dict[str, float]:
  """The input's sqrt(d) goes into the token table, and because that table is also the output matrix,
  the final norm gives it back."""
  return {"embed_tokens": shape.hidden**0.5, "norm": shape.hidden**-0.5}


def llama_weights(shape: ModelShape, state: dict[str, Tensor]) -> dict[str, Tensor]:
  return {name: (state[own] * scales(shape).get(own, 1.0)).to(torch.bfloat16).contiguous()
          for own, name in llama_names(shape).items()}


def state_of_llama(shape: ModelShape, weights: dict[str, Tensor]) -> dict[str, Tensor]:
  """The opposite of llama_weights, but for what BF16 has cut off."""
  return {own: weights[name].float() / scales(shape).get(own, 1.0)
          for own, name in llama_names(shape).items()}


def write_json(path: pathlib.Path, content: dict) -> None:
  path.write_text(json.dumps(content, indent=2) + "\n")


def export(checkpoint: dict, out: pathlib.Path) -> None:
  shape = ModelShape(**checkpoint["shape"])
  out.mkdir(parents=True, exist_ok=True)
  weights = out / "model.safetensors"
  save_file(llama_weights(shape, checkpoint["model"]), weights, metadata={"format": "pt"})
  weights.chmod(0o644)
  write_json(out / "config.json", config(shape))
  write_json(out / "generation_config.json",
             {"bos_token_id": END_ID, "eos_token_id": END_ID, "do_sample": True, "top_k": 1})
  write_json(out / "tokenizer_config.json", {
      "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
      "clean_up_tokenization_spaces": False, "model_max_length": MAX_POSITIONS})


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True,
                      help="folder of the model; tokenizer.json is expected to be there already")
  args = parser.parse_args()
  checkpoint = torch.load(args.checkpoint, weights_only=False)
  export(checkpoint, args.out)
  print(f"{args.out}: {checkpoint['progress']}")


if __name__ == "__main__":
  main()
