"""Trains small tokenizers of every form that Quire reads and writes what the reference libraries make
of one corpus with them, under tests/golden/data/tokenizers.

  python deploy/tools/make_tokenizer_goldens.py
  python deploy/tools/make_tokenizer_goldens.py --show llama2 17     the reference's ids of string 17

Needs deploy/tools/demo_model/requirements.txt and sentencepiece==0.2.3. A tokenizer that is there is
kept and only its hashes are written anew; delete its folder to train it again.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from goldens import sentencepiece_forms, tokenizer_forms
from goldens.tokenizer_corpus import corpus
from goldens.tokenizer_hashes import reference, write_hashes

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = 5200


def _texts(data: pathlib.Path) -> list[str]:
  return [json.loads(line) for line in (data / "corpus.jsonl").read_text().splitlines()]


def _show(data: pathlib.Path, form: str, index: int) -> None:
  library = reference(data / form)
  text = _texts(data)[index]
  ids = library.encode(text)
  print(f"text    {json.dumps(text)}\nids     {ids}\nplain   {library.encode_plain(text)}\n"
        f"decoded {library.decode(ids)!r}")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", type=pathlib.Path, default=ROOT / "tests/golden/data/tokenizers")
  parser.add_argument("--show", nargs=2, metavar=("FORM", "INDEX"))
  args = parser.parse_args()
  if args.show:
    _show(args.data, args.show[0], int(args.show[1]))
    return
  args.data.mkdir(parents=True, exist_ok=True)
  texts = corpus(31, TEXTS, tokenizer_forms.special_names())
  # json escapes what would end a line for some readers.
  (args.data / "corpus.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
  for make in tokenizer_forms.FORMS:
    folder = args.data / make.__name__
    if not (folder / "tokenizer.json").exists():
      tokenizer_forms.save(make(), folder)
  for make in sentencepiece_forms.FORMS:
    folder = args.data / make.__name__
    if not (folder / "tokenizer.model").exists():
      make(folder)
  for folder in sorted(path for path in args.data.iterdir() if path.is_dir()):
    write_hashes(folder, texts)
    print(f"{folder.name}: done")


if __name__ == "__main__":
  main()
