"""What a reference makes of strings and ids, as 32-bit hashes: see tests/golden/data/tokenizers/README.md."""

from __future__ import annotations

import json
import pathlib
import struct

from tokenizers import Tokenizer

from goldens.sentencepiece_forms import Reference

DECODED = 500


def fnv1a(data: bytes) -> int:
  value = 0x811C9DC5
  for byte in data:
    value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
  return value


def hash_ids(ids: list[int]) -> int:
  return fnv1a(struct.pack(f"<{len(ids)}I", *ids))


def id_sequences(vocab_size: int) -> list[list[int]]:
  """From a linear congruential generator that the test has, too; a few ids have no token."""
  state = 1

  def draw(limit: int) -> int:
    nonlocal state
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    return (state >> 33) % limit

  return [[draw(vocab_size + 3) for _ in range(1 + draw(12))] for _ in range(DECODED)]


class JsonReference:
  """The tokenizers library with one tokenizer.json."""

  def __init__(self, folder: pathlib.Path):
    text = (folder / "tokenizer.json").read_text()
    self._library = Tokenizer.from_str(text)
    content = json.loads(text)
    self._special = {token["id"] for token in content["added_tokens"] if token["special"]}
    self._has_fallback = "ByteFallback" in json.dumps(content["decoder"])
    self.vocab_size = self._library.get_vocab_size()

  def encode(self, text: str) -> list[int]:
    return self._library.encode(text).ids

  def encode_plain(self, text: str) -> list[int]:
    self._library.encode_special_tokens = True
    ids = self._library.encode(text, add_special_tokens=False).ids
    self._library.encode_special_tokens = False
    return ids

  def decode(self, ids: list[int]) -> bytes:
    return b"\0".join(self._library.decode(ids, skip_special_tokens=skip).encode()
                      for skip in (True, False))

  def can_compare(self, ids: list[int]) -> bool:
    """Not where bytes in a row are no UTF-8: there the library drops the good ones with the bad."""
    return not self._has_fallback or all(
        self._runs_are_text(ids, hidden) for hidden in (self._special, set()))

  def _runs_are_text(self, ids: list[int], hidden: set[int]) -> bool:
    run = b""
    names = [self._library.id_to_token(i) for i in ids if i not in hidden]
    for name in [name for name in names if name is not None] + [""]:
      if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        run += bytes([int(name[3:5], 16)])
        continue
      try:
        run.decode()
      except UnicodeDecodeError:
        return False
      run = b""
    return True


class ModelReference(Reference):
  """The sentencepiece library with one tokenizer.model."""

  def decode(self, ids: list[int]) -> bytes:
    return super().decode(ids).encode()

  def can_compare(self, ids: list[int]) -> bool:
    return bool(ids)


def reference(folder: pathlib.Path) -> JsonReference | ModelReference:
  return (JsonReference if (folder / "tokenizer.json").exists() else ModelReference)(folder)


def write_hashes(folder: pathlib.Path, texts: list[str]) -> None:
  library = reference(folder)
  hashes: list[int] = []
  for text in texts:
    ids = library.encode(text)
    hashes += [hash_ids(ids), hash_ids(library.encode_plain(text)), fnv1a(library.decode(ids))]
  for ids in id_sequences(library.vocab_size):
    hashes.append(fnv1a(library.decode(ids)) if library.can_compare(ids) else 0)
  (folder / "hashes.bin").write_bytes(struct.pack(f"<{len(hashes)}I", *hashes))
