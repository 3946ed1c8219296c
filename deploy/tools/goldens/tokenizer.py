"""Goldens of the demo model's tokenizer from the Hugging Face tokenizers library, as JSON lines.

tokenizer_demo.jsonl: "text"; "ids" and "ids_special", without and with the tokens that encoding
adds; "ids_plain", where it differs from "ids", reads the names of special tokens as ordinary text;
"decoded" is "ids_special" back as text, special tokens left out.
tokenizer_demo_decode.jsonl: "ids"; "decoded" and "decoded_special", special tokens left out and
kept.
"""

from __future__ import annotations

import json
import pathlib

from tokenizers import Tokenizer

from goldens.tokenizer_cases import WRITTEN, random_ids, random_texts

RANDOM_TEXTS = 150
RANDOM_IDS = 150


def _encode_row(tokenizer: Tokenizer, text: str) -> dict:
  ids = tokenizer.encode(text, add_special_tokens=False).ids
  ids_special = tokenizer.encode(text, add_special_tokens=True).ids
  row = {"text": text, "ids": ids, "ids_special": ids_special,
         "decoded": tokenizer.decode(ids_special, skip_special_tokens=True)}
  tokenizer.encode_special_tokens = True
  plain = tokenizer.encode(text, add_special_tokens=False).ids
  tokenizer.encode_special_tokens = False
  return row if plain == ids else row | {"ids_plain": plain}


def _decode_row(tokenizer: Tokenizer, ids: list[int]) -> dict:
  return {"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True),
          "decoded_special": tokenizer.decode(ids, skip_special_tokens=False)}


def _write(path: pathlib.Path, rows: list[dict]) -> None:
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  print(f"{path}: {len(rows)} rows")


def write_tokenizer_goldens(tokenizer_json: pathlib.Path, data: pathlib.Path) -> None:
  tokenizer = Tokenizer.from_file(str(tokenizer_json))
  texts = list(dict.fromkeys(WRITTEN + random_texts(21, RANDOM_TEXTS)))
  _write(data / "tokenizer_demo.jsonl", [_encode_row(tokenizer, text) for text in texts])
  every_id = [[token] for token in range(0, tokenizer.get_vocab_size(), 16)]
  sequences = every_id + random_ids(22, RANDOM_IDS, tokenizer.get_vocab_size())
  _write(data / "tokenizer_demo_decode.jsonl", [_decode_row(tokenizer, ids) for ids in sequences])
