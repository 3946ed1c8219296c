"""Small SentencePiece models, and what the library makes of texts with special tokens in them."""

from __future__ import annotations

import json
import pathlib
import re

import sentencepiece

from goldens.tokenizer_corpus import training_lines

MARKS = ["<|user|>", "<|end|>"]


def _train(folder: pathlib.Path, **options) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / "tokenizer.model", "wb") as file:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_lines(3, 1500)), model_writer=file, minloglevel=2,
        hard_vocab_limit=False, num_threads=1, **options)


def _write_config(folder: pathlib.Path, first_id: int, **options) -> None:
  names = ["<unk>", "<s>", "</s>"]
  tokens = {str(i): {"content": name, "special": True} for i, name in enumerate(names)}
  tokens |= {str(first_id + i): {"content": name, "special": True} for i, name in enumerate(MARKS)}
  (folder / "tokenizer_config.json").write_text(
      json.dumps({"added_tokens_decoder": tokens, "bos_token": "<s>", **options}))


def sp_bpe(folder: pathlib.Path) -> None:
  _train(folder, model_type="bpe", vocab_size=1000, byte_fallback=True, character_coverage=0.98,
         normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
         allow_whitespace_only_pieces=True, user_defined_symbols=["<table>", "\n\n", "▁▁▁", "wo"])
  size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size()
  _write_config(folder, size, add_bos_token=True, add_eos_token=False)


def sp_unigram(folder: pathlib.Path) -> None:
  _train(folder, model_type="unigram", vocab_size=700, character_coverage=0.98,
         normalization_rule_name="nmt_nfkc", user_defined_symbols=["<table>", "ﬁ", "river"],
         control_symbols=["<sep>"])
  size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size()
  _write_config(folder, size, add_bos_token=True, add_eos_token=True)


FORMS = (sp_bpe, sp_unigram)


class Reference:
  """The library, and around it the special tokens as Quire documents them: they are cut out of the
  text, and what lies between is encoded by itself."""

  def __init__(self, folder: pathlib.Path):
    self._library = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    self._special = {token["content"]: int(token_id)
                     for token_id, token in config["added_tokens_decoder"].items()}
    for token_id in range(self._library.vocab_size()):
      if self._library.is_control(token_id):
        self._special[self._library.id_to_piece(token_id)] = token_id
    self._names = {token_id: name for name, token_id in self._special.items()}
    names = sorted(self._special, key=len, reverse=True)
    self._splitter = re.compile("(" + "|".join(map(re.escape, names)) + ")")
    self._prefix = [self._special["<s>"]] if config["add_bos_token"] else []
    self._suffix = [self._special["</s>"]] if config["add_eos_token"] else []
    self.vocab_size = max([self._library.vocab_size() - 1, *self._special.values()]) + 1

  def encode(self, text: str) -> list[int]:
    ids = list(self._prefix)
    for part in self._splitter.split(text):
      ids += [self._special[part]] if part in self._special else self.encode_plain(part)
    return ids + self._suffix

  def encode_plain(self, text: str) -> list[int]:
    return self._library.encode(text)

  def decode(self, ids: list[int]) -> str:
    known = [i for i in ids if i not in self._names and i < self._library.vocab_size()]
    return self._library.decode(known)
