"""Small tokenizers of every form that Quire reads, trained on texts of ours."""

from __future__ import annotations

import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

from goldens.tokenizer_corpus import training_lines

# What the model families split text with.
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}"
QWEN2 = rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|"
         rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN_AND_REST = (r"[\p{Han}\p{Hiragana}\p{Katakana}]+",
                r"\P{N}+|\p{N}{1,2}",
                r"[\p{L}\p{M}]+|[\p{P}\p{S}]+|\s+(?!\S)|\s+|\p{Cyrillic}")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
BOS, EOS, UNK = "<s>", "</s>", "<unk>"


def special(content: str, **options: bool) -> AddedToken:
  return AddedToken(content, special=True, normalized=options.pop("normalized", False), **options)


def plain(content: str, **options: bool) -> AddedToken:
  return AddedToken(content, special=False, **options)


def _add(tokenizer: Tokenizer, tokens: list[AddedToken]) -> Tokenizer:
  for token in tokens:
    (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
  return tokenizer


def _around(tokenizer: Tokenizer, single: str, *names: str):
  return processors.TemplateProcessing(
      single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])


def _split(pattern: str, behavior: str = "isolated", invert: bool = False):
  return pre_tokenizers.Split(Regex(pattern), behavior, invert=invert)


def _byte_level(pre_tokenizer, size: int = 700, normalizer=None, **options) -> Tokenizer:
  tokenizer = Tokenizer(models.BPE(**options))
  tokenizer.pre_tokenizer = pre_tokenizer
  tokenizer.decoder = decoders.ByteLevel()
  if normalizer is not None:
    tokenizer.normalizer = normalizer
  tokenizer.train_from_iterator(training_lines(1, 1500), trainers.BpeTrainer(
      vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
  return tokenizer


def _bytes_after(*stages) -> pre_tokenizers.PreTokenizer:
  last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  return pre_tokenizers.Sequence([*stages, last])


def gpt2() -> Tokenizer:
  tokenizer = _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
  tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
  return _add(tokenizer, [special("<|endoftext|>")])


def llama3() -> Tokenizer:
  tokenizer = _byte_level(_bytes_after(_split(LLAMA3)), ignore_merges=True)
  _add(tokenizer, [special(f"<|{name}|>") for name in ("begin", "end", "eot", "reserved_0")])
  tokenizer.post_processor = processors.Sequence([
      processors.ByteLevel(trim_offsets=False), _around(tokenizer, "<|begin|> $A", "<|begin|>")])
  return tokenizer


def qwen2() -> Tokenizer:
  tokenizer = _byte_level(_bytes_after(_split(QWEN2)), normalizer=normalizers.NFC())
  tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
  return _add(tokenizer, [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>"),
                          plain("<tool_call>", normalized=False), plain("<tool", normalized=True),
                          plain("e\u0301e\u0301", normalized=True)])


def smollm() -> Tokenizer:
  tokenizer = _byte_level(pre_tokenizers.Sequence([
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]))
  return _add(tokenizer, [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")])


def cased() -> Tokenizer:
  tokenizer = _byte_level(_bytes_after(_split(CASED)), ignore_merges=True)
  _add(tokenizer, [special("<|begin|>"), special("<|end|>")])
  tokenizer.post_processor = _around(tokenizer, "<|begin|> $A <|end|>", "<|begin|>", "<|end|>")
  return tokenizer


def scripts() -> Tokenizer:
  return _add(_byte_level(_bytes_after(*[_split(pattern) for pattern in HAN_AND_REST])),
              [special("<|begin|>"), special("<|end|>")])


def roberta() -> Tokenizer:
  tokenizer = _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
  _add(tokenizer, [special(BOS, normalized=True), special(EOS), special("<mask>", lstrip=True),
                   plain("word", single_word=True), plain("<lr>", lstrip=True, rstrip=True),
                   plain("<r>", rstrip=True, normalized=True)])
  tokenizer.post_processor = processors.RobertaProcessing(
      (EOS, tokenizer.token_to_id(EOS)), (BOS, tokenizer.token_to_id(BOS)))
  return tokenizer


def _code_points(first: list[str], pre_tokenizer=None, size: int = 1000, normalizer=None,
                 alphabet: int = 400, **options) -> Tokenizer:
  """BPE over code points. Trained with Metaspace, or as it will run where that says more."""
  tokenizer = Tokenizer(models.BPE(unk_token=UNK, **options))
  tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.Metaspace()
  if normalizer is not None:
    tokenizer.normalizer = normalizer
  tokenizer.train_from_iterator(training_lines(2, 1500), trainers.BpeTrainer(
      vocab_size=size, special_tokens=first, limit_alphabet=alphabet, show_progress=False))
  content = json.loads(tokenizer.to_str())
  content["added_tokens"] = [token for token in content["added_tokens"]
                             if token["content"] in (UNK, BOS, EOS)]
  if pre_tokenizer is None:
    content["pre_tokenizer"] = None
  return Tokenizer.from_str(json.dumps(content))


def _with_bytes(**options) -> Tokenizer:
  return _code_points([UNK, BOS, EOS, *BYTES], byte_fallback=True, fuse_unk=True, **options)


def _fallback_decoder(*after):
  return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                            *after])


def llama2() -> Tokenizer:
  tokenizer = _with_bytes()
  tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                               normalizers.Replace(" ", "▁")])
  tokenizer.decoder = _fallback_decoder(decoders.Strip(" ", 1, 0))
  tokenizer.post_processor = _around(tokenizer, f"{BOS} $A", BOS)
  return tokenizer


def phi3() -> Tokenizer:
  tokenizer = llama2()
  return _add(tokenizer, [special("<|user|>", rstrip=True), special("<|end|>", rstrip=True),
                          plain("tool call", normalized=True),
                          plain("stone", normalized=True, single_word=True)])


def mistral() -> Tokenizer:
  tokenizer = _with_bytes()
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
  tokenizer.decoder = _fallback_decoder(decoders.Strip(" ", 1, 0))
  _add(tokenizer, [special("[INST]"), special("[/INST]")])
  tokenizer.post_processor = _around(tokenizer, f"{BOS} $A", BOS)
  return tokenizer


def gemma() -> Tokenizer:
  tokenizer = _with_bytes()
  tokenizer.normalizer = normalizers.Replace(" ", "▁")
  tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
  tokenizer.decoder = _fallback_decoder()
  _add(tokenizer, [special("<start_of_turn>"), plain("\n\n", normalized=False),
                   plain("▁▁▁", normalized=False), plain("<table>", normalized=False)])
  tokenizer.post_processor = _around(tokenizer, f"{BOS} $A", BOS)
  return tokenizer


def metaspace() -> Tokenizer:
  tokenizer = _code_points([UNK, BOS, EOS], pre_tokenizers.Metaspace(), alphabet=90)
  tokenizer.decoder = decoders.Metaspace()
  return _add(tokenizer, [plain("water", normalized=True, single_word=True),
                          special("<sep>", lstrip=True, rstrip=True)])


def plain_words() -> Tokenizer:
  """Compatibility forms, accents and case dropped, words and punctuation; unknown ones fused."""
  tokenizer = _code_points(
      [UNK, BOS, EOS], pre_tokenizers.Sequence([pre_tokenizers.Whitespace(),
                                                pre_tokenizers.Digits(individual_digits=False)]),
      normalizer=normalizers.Sequence([
          normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
          normalizers.Strip(left=True, right=False)]), alphabet=120, fuse_unk=True)
  tokenizer.decoder = decoders.Sequence([decoders.Strip("a", 2, 0), decoders.Fuse()])
  tokenizer.post_processor = processors.BertProcessing(
      (EOS, tokenizer.token_to_id(EOS)), (BOS, tokenizer.token_to_id(BOS)))
  return _add(tokenizer, [plain("Ünïted", normalized=True), plain("Signal", normalized=False)])


def pieces() -> Tokenizer:
  """Every behaviour of Split and the pre-tokenizers that are seldom used."""
  tokenizer = _code_points(
      [UNK, BOS, EOS], pre_tokenizers.Sequence([
          pre_tokenizers.CharDelimiterSplit("|"),
          pre_tokenizers.Split("th", "merged_with_next"),
          _split(r"[aeiou]", "contiguous"), _split(r"\p{Lu}", "merged_with_previous"),
          pre_tokenizers.Punctuation("merged_with_next"),
          _split(r"\p{N}", "merged_with_next", invert=True), _split(r"=+", "removed"),
          _split(r"[\p{Greek}\p{Han}]+", "merged_with_previous", invert=True),
          pre_tokenizers.Metaspace(prepend_scheme="first", split=True)]),
      normalizer=normalizers.NFKC(), alphabet=150)
  tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex(r"▁+"), "_"), decoders.Fuse()])
  return tokenizer


def replaced() -> Tokenizer:
  """What a normalizer takes from the front keeps Metaspace from putting its mark there."""
  tokenizer = _code_points(
      [UNK, BOS, EOS], pre_tokenizers.Metaspace(prepend_scheme="first", split=True),
      normalizer=normalizers.Sequence([
          normalizers.Replace(Regex(r"\s{2,}"), " "), normalizers.NFKC(),
          normalizers.Replace("zz", ""), normalizers.Strip(left=True, right=True)]), alphabet=150)
  tokenizer.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="first"),
                                         decoders.Fuse()])
  return _add(tokenizer, [plain("river", normalized=True), special("<sep>")])


def decomposed() -> Tokenizer:
  tokenizer = _code_points(
      [UNK, BOS, EOS, *BYTES[:200]], pre_tokenizers.Sequence([
          pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(),
          pre_tokenizers.Metaspace(prepend_scheme="never", split=True)]),
      normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Strip(),
                                       normalizers.Prepend("~")]),
      alphabet=60, byte_fallback=True, ignore_merges=True)
  tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
  return tokenizer


FORMS = (gpt2, llama3, qwen2, smollm, cased, scripts, roberta, llama2, phi3, mistral, gemma, metaspace,
         plain_words, pieces, replaced, decomposed)


def special_names() -> list[str]:
  """What the corpus has to have in it now and then."""
  return ["<|endoftext|>", "<|begin|>", "<|end|>", "<|eot|>", "<|im_start|>", "<|im_end|>",
          "<tool_call>", "<tool", "ééé", BOS, EOS, UNK, "<mask>", " <mask>", "word", "words",
          "<lr>", " <lr>  ", "<r>", "<r> ", "<|user|>", "<|user|>\n", "tool call", "stone", "stones",
          "[INST]", " [/INST]", "<start_of_turn>", "\n\n", "▁▁▁", "<table>", "water", "waters",
          "<sep>", "  <sep>  ", "Ünïted", "united", "Signal", "signal", "zz", "zz a", "|a|"]


def save(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
  content = json.loads(tokenizer.to_str())
  names = {token["content"] for token in content["added_tokens"] if token["special"]}
  # The corpus spells special tokens, so training may learn to merge one, which Quire then does not.
  if "merges" in content["model"]:
    content["model"]["merges"] = [pair for pair in content["model"]["merges"]
                                  if "".join(pair) not in names]
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "tokenizer.json").write_text(
      json.dumps(content, ensure_ascii=False, separators=(",", ":")))
