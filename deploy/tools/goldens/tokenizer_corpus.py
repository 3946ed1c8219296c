"""Strings for the tokenizer conformance test, and texts to train its tokenizers on; all made here."""

from __future__ import annotations

import random
from collections.abc import Iterator

from goldens.tokenizer_cases import CODE, CONTRACTIONS, DIGITS, SCRIPTS, WRITTEN

WORDS = (
    "the of and to in a is that it was for on are with as they be at one have this from or had by "
    "hot but some what there we can out other were all your when up use word how said an each she "
    "which do their time if will way about many then them would write like so these her long make "
    "thing see him two has look more day could go come did my sound no most number who over know "
    "water than call first people may down side been now find token server model memory quiet "
    "river stone window letter morning garden weather bridge paper station engine signal").split()
SPACES = (" ", "  ", "   ", "     ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\u00a0", "\u3000",
          "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\u200b", "\u180e", "\ufeff", "\x1c", "\x1f",
          " \t ", "\u2003", "\u202f")
SYMBOLS = ("{", "}", "();", "->", "::", "!=", "==", "//", "/*", "*/", "\\n", "<?", "?>", "&&", "||",
           "0x1F", "1e-9", "#!/", "$_", '"', "`", "\x00", "\x01", "\x7f", "\ufffd", "\ufffe", "~~",
           "...", "___", "--", "<|", "|>", "<0x0A>", "<0xE2>", "▁", "▁▁", "Ġ", "«", "…", "¿", "٪", "、")
MARKS = ("👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "e\u0301", "n\u0303o", "ﬁ", "ß", "İ", "ı", "🇩🇪", "㍿", "½", "Ⅷ", "٣٤",
         "१२३", "a\u0323\u0302", "a\u0302\u0323", "\u1e69\u0307", "q\u0307\u0323", "가", "\u1100\u1161",
         "\uac00\u11a8", "\u1100\u1161\u11a8", "Å", "\u212b", "Ω", "\u2126", "ǆ", "ﷺ", "①", "ｶﾞ", "㌀",
         "\u0344", "\u0958", "\u0f73", "\ufb1d", "\U0002f801", "\u0898e\u0301", "\u09c7\u09be",
         "\U0001d15e", "\u1e9b\u0323", "K", "ſ", "ǅ", "ΌΣΟΣ", "ꟸ", "\u1c89", "\ua7dc", "\U0001e030")
# First and last code points of blocks; the last takes in everything.
BLOCKS = (
    (0x41, 0x5A), (0x61, 0x7A), (0xA0, 0x17F), (0x180, 0x24F), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x4FF), (0x531, 0x58F), (0x590, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF),
    (0xB80, 0xBFF), (0xE00, 0xE5B), (0xE80, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FD), (0x1680, 0x169C), (0x1780, 0x17F9),
    (0x180B, 0x180F), (0x1C80, 0x1CBF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F),
    (0x20A0, 0x20FF), (0x2100, 0x218B), (0x2190, 0x23FF), (0x2E80, 0x2FDF), (0x3040, 0x30FF),
    (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0x4E00, 0x9FFF), (0xA640, 0xA7FF), (0xAC00, 0xD7A3),
    (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF),
    (0x10400, 0x1044F), (0x10D40, 0x10D8F), (0x11F00, 0x11F59), (0x1D100, 0x1D1FF),
    (0x1D400, 0x1D7FF), (0x1E030, 0x1E08F), (0x1F100, 0x1F1FF), (0x1F300, 0x1F64F), (0x1F3FB, 0x1F3FF),
    (0x20000, 0x2A6DF), (0x2EBF0, 0x2EE5D), (0x2F800, 0x2FA1D), (0x31350, 0x323AF),
    (0xE0000, 0xE007F), (0, 0x10FFFF))


def _code_point(rng: random.Random, block: tuple[int, int]) -> str:
  while True:
    value = rng.randint(*block)
    if not 0xD800 <= value < 0xE000:
      return chr(value)


def _piece(rng: random.Random, special: list[str]) -> str:
  kind = rng.random()
  if kind < 0.20:
    return rng.choice(SPACES[:1] * 12 + SPACES)
  if kind < 0.40:
    word = rng.choice(WORDS)
    return rng.choice(("", " ")) + rng.choice((word, word, word.capitalize(), word.upper()))
  if kind < 0.46:
    return rng.choice(CONTRACTIONS)
  if kind < 0.50:
    return "".join(_code_point(rng, rng.choice(BLOCKS)) for _ in range(rng.randint(1, 5)))
  if kind < 0.58:
    block = rng.choice(BLOCKS[:-1])
    return "".join(_code_point(rng, block) for _ in range(rng.randint(1, 8)))
  if kind < 0.65:
    return rng.choice(DIGITS + [str(rng.randint(0, 10 ** rng.randint(1, 9)))])
  if kind < 0.74:
    return "".join(rng.choice(SYMBOLS) for _ in range(rng.randint(1, 4)))
  if kind < 0.82:
    return "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 3)))
  if kind < 0.88:
    return rng.choice(CODE)[:24]
  if kind < 0.94:
    return rng.choice(SCRIPTS)
  return rng.choice(special)


def random_text(rng: random.Random, special: list[str]) -> str:
  count = rng.choice((1, 2, 3, 5, 8, 13))
  return "".join(_piece(rng, special) for _ in range(count))


def corpus(seed: int, count: int, special: list[str]) -> list[str]:
  """`count` different strings: every written one, special tokens' names, then random mixtures."""
  rng = random.Random(seed)
  texts = dict.fromkeys(WRITTEN + special + [f" {name} x{name}y" for name in special])
  while len(texts) < count:
    texts[random_text(rng, special)] = None
  return list(texts)[:count]


def training_lines(seed: int, count: int) -> Iterator[str]:
  rng = random.Random(seed)
  ends = (".", "!", "?", " 123 4567", " x == 10;", "  // 3.14")
  for _ in range(count):
    words = " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 16)))
    yield words.capitalize() + rng.choice(ends)
    yield rng.choice(SCRIPTS) + " " + rng.choice(CODE)
    yield rng.choice(WRITTEN)
