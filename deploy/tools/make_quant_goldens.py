"""Writes the golden files of quantized checkpoints.

  python deploy/tools/make_quant_goldens.py [--check]

Needs deploy/tools/demo_model/requirements.txt. Writes under tests/golden/data/quant, for each case, a
tiny random checkpoint and `expected.safetensors`:

  fnv.<tensor>   I32 [2]  FNV-1a of the tensor's dequantized float32 bytes, low half first
  row.<tensor>   F32      the tensor's last row, to see what went wrong
  prompt.<i>     I32 [T]  token ids, and their logits by transformers on the dequantized weights:
  logits.<i>     F32 [T, V]

beside a GGUF file config.json says what the model is in transformers' terms, for the tests alone. And
blocks.safetensors, with blocks of each GGUF type and the FP8 codes, beside their values. The
formulas are in quant_goldens/. With --check, the `gguf` package's own reader and dequantizers must
agree with them, and so must transformers where it can load the file.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

from quant_goldens import cases, gguf_format
from quant_goldens.safetensors_formats import fp8_values

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT_LENGTHS = (2, 20)
SEED = 20


def fnv1a(data: bytes) -> np.ndarray:
  value = 0xcbf29ce484222325
  for byte in data:
    value = (value ^ byte) * 0x100000001b3 % 2**64
  return np.array([value % 2**32, value >> 32], np.uint32).view(np.int32)


def save(tensors: dict[str, np.ndarray], path: pathlib.Path) -> None:
  """Bytes of the FP8 codes are stored as that type, all else as it is."""
  out = {}
  for name, value in tensors.items():
    tensor = torch.from_numpy(np.ascontiguousarray(value))
    is_fp8 = value.dtype == np.uint8 and not name.endswith(".blocks")
    out[name] = tensor.view(torch.float8_e4m3fn) if is_fp8 else tensor
  save_file(out, path, metadata={"format": "pt"})
  path.chmod(0o644)


def reference_model(case: cases.Case, weights: dict[str, np.ndarray]) -> torch.nn.Module:
  config_json = case.config()
  with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / "config.json").write_text(json.dumps(config_json))
    config = AutoConfig.from_pretrained(folder)
  config._attn_implementation = "eager"
  model = AutoModelForCausalLM.from_config(config).float().eval()
  for layer, groups in enumerate(case.groups):
    config.num_key_value_heads = groups
    model.model.layers[layer].self_attn = LlamaAttention(config, layer).float().eval()
  state = {name: torch.from_numpy(value) for name, value in weights.items()}
  missing, unexpected = model.load_state_dict(state, strict=False)
  assert not unexpected and set(missing) <= ({"lm_head.weight"} if case.tied else set()), missing
  model.tie_weights()
  return model


@torch.no_grad()
def expected(case: cases.Case, values: dict[str, np.ndarray], weights: dict[str, np.ndarray],
             rng: np.random.Generator) -> dict[str, np.ndarray]:
  out = {}
  for name, value in values.items():
    value = np.ascontiguousarray(value, np.float32)
    out[f"fnv.{name}"] = fnv1a(value.tobytes())
    out[f"row.{name}"] = value[-1] if value.ndim == 2 else value
  model = reference_model(case, weights)
  for i, length in enumerate(PROMPT_LENGTHS):
    ids = rng.integers(0, cases.VOCAB, length)
    out[f"prompt.{i}"] = ids.astype(np.int32)
    out[f"logits.{i}"] = model(torch.from_numpy(ids)[None]).logits[0].numpy()
  return out


def write_safetensors_case(case: cases.Case, folder: pathlib.Path,
                           rng: np.random.Generator) -> None:
  weights = cases.random_weights(case, rng)
  stored, values, rounded = {}, {}, {}
  for name, weight in weights.items():
    if not cases.is_quantized(case, name):
      stored[name] = weight.astype(np.float16)
      rounded[name] = stored[name].astype(np.float32)
      continue
    tensors, values[name] = cases.store_layer(case, weight, rng)
    stored |= {name.removesuffix("weight") + key: tensor for key, tensor in tensors.items()}
  config = case.config() | {"quantization_config": case.quantization}
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
  save(stored, folder / "model.safetensors")
  save(expected(case, values, rounded | values, rng), folder / "expected.safetensors")


def write_gguf_case(case: cases.Case, folder: pathlib.Path, rng: np.random.Generator) -> None:
  content, values, weights = cases.store_gguf(case, cases.random_weights(case, rng))
  (folder / "model.gguf").write_bytes(content)
  config = case.config()
  if case.groups:
    config |= {"architectures": ["DeciLMForCausalLM"],
               "num_key_value_heads_per_layer": list(case.groups)}
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
  save(expected(case, values, weights, rng), folder / "expected.safetensors")


def write_blocks(path: pathlib.Path, rng: np.random.Generator) -> None:
  tensors = {"F8_E4M3.values": fp8_values()}
  for kind in ("Q8_0", "Q4_0", "Q4_1", "Q6_K"):
    data = (gguf_format.random_q6_k(3, rng) if kind == "Q6_K" else
            gguf_format.encode(rng.normal(0, 1, 256).astype(np.float32), kind))
    tensors[f"{kind}.blocks"] = np.frombuffer(data, np.uint8)
    tensors[f"{kind}.values"] = gguf_format.decode(data, kind)
  save(tensors, path)


def check_gguf(case: cases.Case, path: pathlib.Path, out: dict[str, torch.Tensor]) -> None:
  import gguf
  for tensor in gguf.GGUFReader(path).tensors:
    if tensor.name == "rope_freqs.weight":
      continue
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    heads = 0
    if case.family == "llama" and ".attn_q." in tensor.name:
      heads = cases.HEADS
    if case.family == "llama" and ".attn_k." in tensor.name:
      heads = case.groups[int(tensor.name.split(".")[1])] if case.groups else cases.GROUPS
    values = gguf_format.restore(values, heads) if heads else values
    assert (fnv1a(values.tobytes()) == out[f"fnv.{tensor.name}"].numpy()).all(), tensor.name
  if case.groups or "rope_scaling" in case.rope or case.family == "qwen3":
    return  # transformers takes neither of these, nor Qwen 3's head size, from such a file
  model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name,
                                               dtype=torch.float32, attn_implementation="eager")
  for layer in model.model.layers:
    layer.self_attn.scaling = cases.HEAD_DIM**-0.5  # of Gemma's queries the file says nothing
  with torch.no_grad():
    logits = model(out["prompt.1"][None].long()).logits[0]
  error = (logits - out["logits.1"]).abs().max() / out["logits.1"].abs().max()
  print(f"{case.name}: transformers' own loader differs by {error:.1e}")


def check_blocks(path: pathlib.Path) -> None:
  import gguf
  from safetensors.numpy import load_file
  tensors = load_file(path)
  for kind in ("Q8_0", "Q4_0", "Q4_1", "Q6_K"):
    values = gguf.quants.dequantize(tensors[f"{kind}.blocks"].reshape(1, -1),
                                    gguf.GGMLQuantizationType[kind])
    assert (values.reshape(-1) == tensors[f"{kind}.values"]).all(), kind
  codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
  np.testing.assert_array_equal(codes, tensors["F8_E4M3.values"])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", type=pathlib.Path, default=ROOT / "tests/golden/data/quant")
  parser.add_argument("--check", action="store_true", help="needs the package gguf")
  args = parser.parse_args()
  torch.set_num_threads(1)
  args.data.mkdir(parents=True, exist_ok=True)
  write_blocks(args.data / "blocks.safetensors", np.random.default_rng(SEED))
  for number, case in enumerate(cases.CASES):
    folder = args.data / case.name
    folder.mkdir(exist_ok=True)
    write = write_gguf_case if case.gguf else write_safetensors_case
    write(case, folder, np.random.default_rng(SEED + 1 + number))
    print(f"{folder}: done")
  if not args.check:
    return
  from safetensors.torch import load_file
  check_blocks(args.data / "blocks.safetensors")
  for case in cases.CASES:
    if case.gguf:
      folder = args.data / case.name
      check_gguf(case, folder / "model.gguf", load_file(folder / "expected.safetensors"))


if __name__ == "__main__":
  main()
