"""Texts and id sequences for the tokenizer goldens: written ones and seeded random mixtures."""

from __future__ import annotations

import random

END = "<|end|>"

PLAIN = [
    "", " ", "a", "A", ".", "0", "\n", "\t", "\r", "\r\n", "  ", "   ", "\n\n", "\n\n\n", " \n",
    "\n ", " \n ", "\t\t", "\t a", "a\t", "a ", " a", "  a", "   a", "a  ", "a   ", "a b",
    "a  b", "a   b", "a\nb", "a \nb", "a\n b", "a \n b", "a\n\nb", "a\n\n b", "a \n\n  b",
    "a\r\nb", "a\r\n\r\n b", "Story: Mara went to the theatre.\nQ: Where is Mara?\nA:",
    "Q: What is in the green chest?", "In the green chest Milo put 5 pink onions.", "Mara",
    " Mara", "mara", "MARA", "theatre theatres", "The quick brown fox jumps over the lazy dog.",
    "Hello, world!", "Hello , world !", "antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab", "a" * 300, " " * 64,
    "\n" * 40, "ab " * 60, "é" * 50,
]
DIGITS = [
    "1", "12", "123", "1234567890", "3.14159", "1,000,000", "-17", "+4", "1e-5", "0x7F", "2nd",
    "v2.0", "a1b2c3", "1a", "5 pink", " 20", "20 20", "2020-01-02T03:04:05Z", "½", "²³", "Ⅷ",
    "٣٤٥", "१२३", "一二三", "100%", "$5.00", "№5", "1\u00a0000", "007", "1/2", "10:45",
]
CONTRACTIONS = [
    "don't", "I'm", "we're", "they've", "she'll", "he'd", "it's", "DON'T", "I'M", "WE'RE",
    "it'S", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "''s", "' s", "a's b's", "don’t",
    "it’s", "rock'n'roll", "'tis", "'twas", "o'clock", "x'y", "'", "''", "'''", "5's",
    "the '90s", "'sx", "'llama",
]
PUNCTUATION = [
    "!", "!!", "!?", "...", "…", "--", "—", "a-b", "a--b", "a - b", "(a)", "[a]", "{a}", "<a>",
    "\"a\"", "a.b.c", "a,b", ";:;", "@#$%^&*", "~`|\\", "/", "//",
    "http://example.org/a?b=c&d=e#f", "me@example.org", "C:\\dir\\file.txt", "_", "__init__",
    "snake_case", "kebab-case", " .", " ...", "?\n", ".\n\n", "!\r\n", "«a»", "„a“", "¿a?", "·",
    "•", "₿€£¥", "§5", "a·b", "‽", "\u2060", "\ufeff",
]
CODE = [
    "int main() { return 0; }", "for (int i = 0; i < n; ++i) {\n  sum += a[i];\n}",
    "#include <vector>", "def f(x):\n    return x + 1\n", "\tif a:\n\t\tb()\n",
    "if (a&&b||!c) x=y?z:w;", "a->b::c.d", "/* a */", "// a\n", "SELECT * FROM t WHERE a='b';",
    "{\"a\": [1, 2.5, null, true]}", "<p class=\"a\">b</p>", "x = lambda y: y**2",
    "std::vector<std::string> v;", "0b1010 | 0xFFu << 3", "$HOME/.bashrc", "a\\nb",
    "`ls -la | grep 'x'`", "CamelCaseName", "    indented\n        more\n",
]
SPECIAL = [
    END, END + END, " " + END, END + " ", "a" + END, END + "a", "a" + END + "b",
    "a " + END + " b", "Mara." + END + "\nQ:", "<|end|", "<|end", "|end|>", "<|END|>",
    "<|end|>>", "<<|end|>", "<|en" + END + "d|>", "<|end |>", "< |end|>", "<|begin|>", "<s>",
    "</s>", "[UNK]", "<unk>", "<pad>", "<0x0A>", "Ġ", "Ċ", "ĠMara", "▁Mara", "\u0000",
    "a\u0000b", "\u0001\u001f", "\u007f", END * 20,
]
SCRIPTS = [
    "Grüße aus Köln, schöne Straße", "L'été où naît le cœur", "¿Dónde está el niño?",
    "Čeština je těžká řeč", "Zażółć gęślą jaźń", "İstanbul ığdır", "Γειά σου Κόσμε",
    "Привет, мир! Ёлка", "Україна її ґанок", "שלום עולם", "שָׁלוֹם", "مرحبا بالعالم",
    "مَرْحَبًا", "سلام دنیا", "नमस्ते दुनिया", "ক্ষ বাংলা", "தமிழ் வணக்கம்", "สวัสดีชาวโลก",
    "ສະບາຍດີ", "မင်္ဂလာပါ", "ជំរាបសួរ", "გამარჯობა", "Բարեւ աշխարհ", "ሰላም ልዑል", "你好，世界！",
    "繁體中文測試", "こんにちは世界", "カタカナ ｶﾀｶﾅ", "안녕하세요 세계", "ᄀᆞᆷ", "Xin chào thế giới", "Ọ̀rúnmìlà",
    "ᏣᎳᎩ", "ᓄᓇᕗᑦ", "𐌰𐌱𐌲", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ＦＵＬＬ　ＷＩＤＴＨ", "a你b好c", "5个", "第1章", "ǅ ǆ Ǆ", "ﬁ ﬂ ﬃ",
    "ª º", "ʰʷ", "ℵ ℝ ∑ ∫ √", "µ Ω Å",
]
MARKS_AND_EMOJI = [
    "e\u0301", "\u00e9", "a\u0308\u0323", "Z̷a̷l̷g̷o̷", "n\u0303o", "\u0301", " \u0301a",
    "क्\u200dष", "👍", "👍👍", "👍🏽", "a👍b", " 👍 ", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "❤", "☺️ ☹",
    "1️⃣", "©®™", "→←↑↓", "■□▲", "🀄", "🧑🏿‍🚀", "\ufe0f", "\u200d", "🫠", "𓀀", "\U000e0067",
    "😀😃😄 hi",
]
SPACES = [
    "a\u00a0b", "\u00a0a", "a\u2003b", "\u3000a", "a\u2028b", "a\u2029b", "a\u0085b",
    "a\u200bb", "a\u202fb", "\u1680a", "a\u000bb", "a\u000cb", "a\u001cb", "a\u001fb",
    "a\u180eb", "\u205f", "a \u00a0 b", "\u00a0\u00a0", "  \u00a0a", "a\u2009\n", "\u200e a",
    "a\u00ad b",
]
WRITTEN = (PLAIN + DIGITS + CONTRACTIONS + PUNCTUATION + CODE + SPECIAL + SCRIPTS + MARKS_AND_EMOJI +
           SPACES)


def random_texts(seed: int, count: int) -> list[str]:
  """Pieces of the written texts, glued without regard for their borders."""
  rng = random.Random(seed)
  texts: list[str] = []
  while len(texts) < count:
    pieces = []
    for _ in range(rng.randint(2, 6)):
      text = rng.choice(WRITTEN)[:40]
      begin = rng.randrange(len(text) + 1)
      pieces.append(text[begin:begin + rng.randint(1, 12)])
    texts.append("".join(pieces))
  return texts


def random_ids(seed: int, count: int, vocab: int) -> list[list[int]]:
  """Sequences that a sampling model may emit; mostly not valid UTF-8."""
  rng = random.Random(seed)
  return [[rng.randrange(vocab if rng.random() < 0.5 else 257) for _ in range(rng.randint(1, 12))]
          for _ in range(count)]
