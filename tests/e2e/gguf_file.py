"""Writes a Llama model of BF16 weights and byte-level BPE as a GGUF file, as llama.cpp's converter
would: its names, its order of query and key rows, the vocabulary in the metadata."""

import json
import struct

_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _INT32 = 4, 6, 7, 8, 9, 5
_F32, _BF16 = 0, 30
_ALIGNMENT = 32

_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _array(kind, items):
    return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)


def _strings(texts):
    return _array(_STRING, [_string(text) for text in texts])


def _metadata(model, template):
    config = json.loads((model / "config.json").read_text())
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocab = sorted({**tokenizer["model"]["vocab"], **added}.items(), key=lambda entry: entry[1])
    number = lambda value: struct.pack("<II", _UINT32, value)
    real = lambda value: struct.pack("<If", _FLOAT32, value)
    text = lambda value: struct.pack("<I", _STRING) + _string(value)
    entries = {
        "general.architecture": text("llama"),
        "llama.block_count": number(config["num_hidden_layers"]),
        "llama.context_length": number(config["max_position_embeddings"]),
        "llama.embedding_length": number(config["hidden_size"]),
        "llama.feed_forward_length": number(config["intermediate_size"]),
        "llama.attention.head_count": number(config["num_attention_heads"]),
        "llama.attention.head_count_kv": number(config["num_key_value_heads"]),
        "llama.attention.key_length": number(config["head_dim"]),
        "llama.attention.value_length": number(config["head_dim"]),
        "llama.attention.layer_norm_rms_epsilon": real(config["rms_norm_eps"]),
        "llama.rope.freq_base": real(config["rope_theta"]),
        "llama.rope.dimension_count": number(config["head_dim"]),
        "llama.vocab_size": number(config["vocab_size"]),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("gpt-2"),
        "tokenizer.ggml.tokens": _strings(token for token, _ in vocab),
        "tokenizer.ggml.token_type": _array(
            _INT32, [struct.pack("<i", 3 if token in added else 1) for token, _ in vocab]),
        "tokenizer.ggml.merges": _strings(" ".join(pair) for pair in tokenizer["model"]["merges"]),
        "tokenizer.ggml.bos_token_id": number(config["bos_token_id"]),
        "tokenizer.ggml.eos_token_id": number(config["eos_token_id"]),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", _BOOL, True),
    }
    if template is not None:
        entries["tokenizer.chat_template"] = text(template)
    return config, entries


def _interleaved(data, rows, heads):
    """The rows of each head: first and second half of its dimensions in turns."""
    width, half = len(data) // rows, rows // heads // 2
    row = lambda at: data[at * width:(at + 1) * width]
    return b"".join(row(head * 2 * half + part * half + i)
                    for head in range(heads) for i in range(half) for part in range(2))


def _tensors(model, config):
    data = (model / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    for name, entry in sorted(header.items()):
        if name == "__metadata__":
            continue
        start, end = (at + 8 + size for at in entry["data_offsets"])
        content, shape, kind = data[start:end], entry["shape"], _BF16
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            name = f"blk.{layer}.{_NAMES[rest]}"
        else:
            name = _NAMES[name]
        for part, heads in (("attn_q.", "num_attention_heads"), ("attn_k.", "num_key_value_heads")):
            if part in name:
                content = _interleaved(content, shape[0], config[heads])
        if len(shape) == 1:  # norms are F32 in GGUF files
            content = b"".join(b"\0\0" + content[i:i + 2] for i in range(0, len(content), 2))
            kind = _F32
        yield name, kind, shape, content


def write_gguf(model, path, template=None):
    """`model` is the directory, `path` the file to write, `template` a chat template."""
    config, entries = _metadata(model, template)
    tensors = list(_tensors(model, config))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    for key, value in entries.items():
        head += _string(key) + value
    body = b""
    for name, kind, shape, content in tensors:
        head += _string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", extent) for extent in reversed(shape))
        head += struct.pack("<IQ", kind, len(body))
        body += content + bytes(-len(content) % _ALIGNMENT)
    path.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + body)
