"""The tiny checkpoints: their shapes, random weights and how each stores them."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import gguf_format, safetensors_formats as formats

VOCAB, HIDDEN, INTERMEDIATE, HEADS, GROUPS, HEAD_DIM = 32, 64, 96, 4, 2, 16
CONTEXT = 128

# Biases, norms of heads and the like that an architecture has besides Llama's.
FEATURES = {"llama": (), "qwen2": ("bias",), "qwen3": ("head_norms",),
            "gemma2": ("post_norms",), "gemma3": ("head_norms", "post_norms")}
CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
           "gemma2": "Gemma2ForCausalLM", "gemma3": "Gemma3ForCausalLM"}


@dataclasses.dataclass(frozen=True)
class Case:
  """`quantization` is the field of config.json; `gguf` the type of a GGUF file's matrices."""

  name: str
  quantization: dict | None = None
  gguf: str = ""
  family: str = "llama"
  layers: int = 1
  groups: tuple[int, ...] = ()  # of each layer, where they differ
  tied: bool = True
  rope: dict = dataclasses.field(default_factory=dict)
  plain: tuple[str, ...] = ()  # parts of names that are not quantized

  def config(self) -> dict:
    config = {
        "architectures": [CLASSES[self.family]], "model_type": self.family,
        "torch_dtype": "float16", "vocab_size": VOCAB, "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": self.layers,
        "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": self.tied, "bos_token_id": 0, "eos_token_id": 1,
        "rope_theta": 10000.0, **self.rope}
    if self.family.startswith("gemma"):
      config |= {"hidden_activation": "gelu_pytorch_tanh", "sliding_window": 8,
                 "query_pre_attn_scalar": HEAD_DIM}
    if self.family == "gemma3":
      config |= {"model_type": "gemma3_text", "rope_theta": 1000000.0,
                 "rope_local_base_freq": 10000.0, "sliding_window_pattern": 6}
    return config


def _gptq(bits: int, group_size: int, **fields: object) -> dict:
  return {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": False,
          "sym": True, **fields}


def _compressed(strategy: str, **fields: object) -> dict:
  weights = {"num_bits": 8, "type": "float", "strategy": strategy, "symmetric": True,
             "dynamic": False, **fields}
  return {"quant_method": "compressed-tensors", "format": "float-quantized",
          "quantization_status": "compressed", "ignore": ["lm_head"],
          "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                                        "input_activations": {"num_bits": 8, "type": "float"}}}}


LLAMA3 = {"rope_theta": 500000.0,
          "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                           "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}
# Of Gemma 3's layers without a window, as its larger models have it.
LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}

CASES = (
    Case("gptq_int4", _gptq(4, 32), plain=("mlp.down_proj",)),
    Case("gptq_int4_one_group", _gptq(4, -1, sym=False)),
    Case("gptq_v2_int4_act_order",
         _gptq(4, 32, sym=False, desc_act=True, checkpoint_format="gptq_v2")),
    Case("gptq_int8_act_order", _gptq(8, 32, sym=False, desc_act=True)),
    Case("awq_int4", {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm",
                      "zero_point": True, "modules_to_not_convert": ["o_proj"]},
         plain=("self_attn.o_proj",)),
    Case("fp8_tensor", {"quant_method": "fp8", "activation_scheme": "static",
                        "ignored_layers": ["lm_head"]}),
    Case("fp8_channel", _compressed("channel")),
    # As in released checkpoints but for smaller blocks, so that some are cut short.
    Case("fp8_block", {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                       "weight_block_size": [32, 64], "modules_to_not_convert": ["lm_head"]}),
    Case("gguf_f16", gguf="F16", rope=LLAMA3),
    Case("gguf_bf16", gguf="BF16", tied=False),
    Case("gguf_q8_0", gguf="Q8_0"),
    Case("gguf_q4_0_groups", gguf="Q4_0", layers=2, groups=(2, 1)),
    Case("gguf_qwen2", gguf="Q4_0", family="qwen2"),
    Case("gguf_qwen3", gguf="Q4_0", family="qwen3"),
    Case("gguf_gemma2", gguf="Q4_0", family="gemma2", layers=2),
    Case("gguf_gemma3", gguf="Q4_0", family="gemma3", layers=6, rope=LINEAR),
)


def weight_shapes(case: Case) -> dict[str, tuple[int, ...]]:
  shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
  for layer in range(case.layers):
    groups = case.groups[layer] if case.groups else GROUPS
    q, kv = HEADS * HEAD_DIM, groups * HEAD_DIM
    prefix = f"model.layers.{layer}."
    linear = {"self_attn.q_proj": (q, HIDDEN), "self_attn.k_proj": (kv, HIDDEN),
              "self_attn.v_proj": (kv, HIDDEN), "self_attn.o_proj": (HIDDEN, q),
              "mlp.gate_proj": (INTERMEDIATE, HIDDEN), "mlp.up_proj": (INTERMEDIATE, HIDDEN),
              "mlp.down_proj": (HIDDEN, INTERMEDIATE)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    if "post_norms" in FEATURES[case.family]:
      norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    shapes |= {prefix + name + ".weight": shape for name, shape in linear.items()}
    shapes |= {prefix + name + ".weight": (HIDDEN,) for name in norms}
    if "bias" in FEATURES[case.family]:
      shapes |= {prefix + f"self_attn.{name}_proj.bias": (q if name == "q" else kv,)
                 for name in "qkv"}
    if "head_norms" in FEATURES[case.family]:
      shapes |= {prefix + f"self_attn.{name}_norm.weight": (HEAD_DIM,) for name in "qk"}
  shapes["model.norm.weight"] = (HIDDEN,)
  if not case.tied:
    shapes["lm_head.weight"] = (VOCAB, HIDDEN)
  return shapes


def random_weights(case: Case, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Values that FP16 holds; those of norms also BF16, less one or not."""
  weights = {}
  for name, shape in weight_shapes(case).items():
    noise = rng.normal(0, 1, shape)
    if name.endswith("norm.weight"):
      plus_one = case.family.startswith("gemma")
      weights[name] = (np.rint(noise * 16) / 64 + (0 if plus_one else 1)).astype(np.float32)
    else:
      size = 0.5 if "embed" in name or "lm_head" in name else 0.2
      weights[name] = (noise * size).astype(np.float16).astype(np.float32)
  return weights


def is_quantized(case: Case, name: str) -> bool:
  return name.endswith("_proj.weight") and not any(part in name for part in case.plain)


def store_layer(case: Case, weight: np.ndarray,
                rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """What a safetensors checkpoint holds of a layer, and the values that stand for it."""
  fields = case.quantization
  if fields["quant_method"] == "gptq":
    version = 2 if fields.get("checkpoint_format") == "gptq_v2" else 1
    layer = formats.quantize_gptq(weight, fields["bits"], fields["group_size"], fields["desc_act"],
                                  fields["sym"], version, rng)
    return layer, formats.dequantize_gptq(layer, fields["bits"], version)
  if fields["quant_method"] == "awq":
    layer = formats.quantize_awq(weight, fields["group_size"], rng)
    return layer, formats.dequantize_awq(layer, fields["group_size"])
  block = tuple(fields.get("weight_block_size", weight.shape))
  if case.name == "fp8_channel":
    block = (1, weight.shape[1])
  codes, scales = formats.quantize_fp8(weight, block)
  values = formats.dequantize_fp8(codes, scales, block)
  if case.name == "fp8_block":
    return {"weight": codes, "weight_scale_inv": scales}, values
  if case.name == "fp8_channel":
    return {"weight": codes, "weight_scale": scales}, values
  return {"weight": codes, "weight_scale": scales.reshape(1),
          "input_scale": np.full(1, 0.5, np.float32)}, values


# Names in a GGUF file of what the checkpoint calls otherwise, in the order of their replacement.
GGUF_NAMES = (
    ("model.layers.", "blk."), ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"),
    ("lm_head", "output"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"),
    ("input_layernorm", "attn_norm"), ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"), ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"))


def gguf_name(case: Case, name: str) -> str:
  for old, new in GGUF_NAMES:
    name = name.replace(old, new)
  post = "post_attention_norm" if "post_norms" in FEATURES[case.family] else "ffn_norm"
  return name.replace("post_attention_layernorm", post)


def _heads_of(case: Case, name: str) -> int:
  """Heads of a tensor that the converter reorders, or 0."""
  if case.family != "llama" or not any(part in name for part in ("q_proj", "k_proj")):
    return 0
  if "q_proj" in name:
    return HEADS
  return case.groups[int(name.split(".")[2])] if case.groups else GROUPS


def gguf_metadata(case: Case) -> dict[str, object]:
  config, family = case.config(), case.family
  fields: dict[str, object] = {
      "general.architecture": family, "general.name": case.name,
      f"{family}.vocab_size": VOCAB, f"{family}.context_length": CONTEXT,
      f"{family}.embedding_length": HIDDEN, f"{family}.block_count": case.layers,
      f"{family}.feed_forward_length": INTERMEDIATE,
      f"{family}.attention.head_count": HEADS,
      f"{family}.attention.head_count_kv": list(case.groups) or GROUPS,
      f"{family}.attention.key_length": HEAD_DIM, f"{family}.attention.value_length": HEAD_DIM,
      f"{family}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
      f"{family}.rope.freq_base": config["rope_theta"],
      f"{family}.rope.dimension_count": HEAD_DIM, "tokenizer.ggml.eos_token_id": 1,
      "tokenizer.ggml.eot_token_id": 3}
  if family.startswith("gemma"):
    fields[f"{family}.attention.sliding_window"] = config["sliding_window"]
  if family == "gemma2":
    fields |= {"gemma2.attn_logit_softcapping": 50.0, "gemma2.final_logit_softcapping": 30.0}
  if case.rope == LINEAR:
    scaling = config["rope_scaling"]
    fields |= {f"{family}.rope.scaling.type": scaling["rope_type"],
               f"{family}.rope.scaling.factor": scaling["factor"]}
  return fields


def rope_factors(case: Case) -> np.ndarray:
  """What each frequency of Llama 3.1's rotation is divided by; the converter writes these."""
  scaling = case.rope["rope_scaling"]
  original = scaling["original_max_position_embeddings"]
  low, high = (original / scaling[name] for name in ("low_freq_factor", "high_freq_factor"))
  factors = []
  for i in range(HEAD_DIM // 2):
    wavelength = 2 * np.pi * case.rope["rope_theta"]**(2 * i / HEAD_DIM)
    smooth = (original / wavelength - 1) / (scaling["high_freq_factor"] - 1)
    blend = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    factors.append(1.0 if wavelength < high else scaling["factor"] if wavelength > low else blend)
  return np.array(factors, np.float32)


def store_gguf(case: Case, weights: dict[str, np.ndarray],
               ) -> tuple[bytes, dict[str, np.ndarray], dict[str, np.ndarray]]:
  """The file, its values under its own names, and the same under the checkpoint's."""
  tensors, by_file, by_checkpoint = {}, {}, {}
  for name, weight in weights.items():
    kind = case.gguf if weight.ndim == 2 else "F32"
    plus_one = case.family.startswith("gemma") and name.endswith("norm.weight")
    heads = _heads_of(case, name)
    stored = weight + np.float32(1) if plus_one else weight
    content = gguf_format.encode(gguf_format.interleave(stored, heads) if heads else stored, kind)
    tensors[gguf_name(case, name)] = (kind, weight.shape, content)
    values = gguf_format.decode(content, kind).reshape(weight.shape)
    values = gguf_format.restore(values, heads) if heads else values
    by_file[gguf_name(case, name)] = values
    by_checkpoint[name] = values - np.float32(1) if plus_one else values
  if case.rope == LLAMA3:
    factors = rope_factors(case)
    tensors["rope_freqs.weight"] = ("F32", factors.shape, factors.tobytes())
  return gguf_format.file_bytes(gguf_metadata(case), tensors), by_file, by_checkpoint
