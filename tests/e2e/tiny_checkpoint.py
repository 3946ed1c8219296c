"""Writes a small Llama-like checkpoint of random weights, with the demo model's tokenizer."""

import json
import random
import shutil
import struct

_SIZES = {"vocab_size": 768, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
          "num_attention_heads": 8, "head_dim": 16, "max_position_embeddings": 512}

_PIECE = 99_991  # numbers of a tensor that are random; then they come again


def write_checkpoint(directory, tokenizer_of, kv_groups, **changes):
    """`kv_groups`: a number, or a list with one for each layer. `changes`: of config.json."""
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
              "torch_dtype": "bfloat16", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 0,
              "eos_token_id": 0, "num_key_value_heads": kv_groups, **_SIZES, **changes}
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_of / name, directory / name)
    _write_tensors(directory / "model.safetensors", _shapes(config))


def _shapes(config):
    hidden, width = config["hidden_size"], config["head_dim"]
    heads, inner = config["num_attention_heads"], config["intermediate_size"]
    groups = config["num_key_value_heads"]
    layers = config["num_hidden_layers"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden),
              "model.norm.weight": (hidden,)}
    for layer, count in enumerate(groups if isinstance(groups, list) else [groups] * layers):
        shapes.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in {
            "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
            "self_attn.q_proj": (heads * width, hidden), "self_attn.k_proj": (count * width, hidden),
            "self_attn.v_proj": (count * width, hidden), "self_attn.o_proj": (hidden, heads * width),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner)}.items()})
        if config["model_type"] == "qwen2":
            shapes.update({f"model.layers.{layer}.self_attn.{name}_proj.bias": (rows * width,)
                           for name, rows in (("q", heads), ("k", count), ("v", count))})
    return shapes


def _write_tensors(path, shapes):
    header, data, numbers = {}, [], random.Random(1)
    offset = 0
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        # BF16 between 0.03 and 0.12, of either sign.
        piece = struct.pack(f"<{min(count, _PIECE)}H",
                            *(0x3d00 | numbers.getrandbits(16) & 0x80ff
                              for _ in range(min(count, _PIECE))))
        data.append((piece * (count // _PIECE + 1))[:2 * count])
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
