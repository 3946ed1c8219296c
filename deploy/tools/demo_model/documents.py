"""Turns stories into training documents and evaluation prompts, as token ids and text."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from stories import WORDS, Fact, Pools, Question, Story
from tokenizer import END_ID

Encode = Callable[[str], list[int]]

OPENING = "Story:"
# Tokens an evaluation prompt keeps free for its question.
QUESTION_ROOM = 22


class Document:
  """Token ids with, for each, the token to predict next and whether it belongs to an answer.

  After an answer's last token the target is END although the document goes on with the next
  question: the model learns to stop, yet never sees END inside a conversation.
  """

  def __init__(self) -> None:
    self.ids = [END_ID]
    self._answers: list[tuple[int, int]] = []

  def __len__(self) -> int:
    return len(self.ids)

  def add(self, ids: list[int]) -> None:
    self.ids += ids

  def add_answer(self, ids: list[int]) -> None:
    self._answers.append((len(self.ids), len(self.ids) + len(ids)))
    self.ids += ids

  def example(self, length: int) -> tuple[list[int], list[int], list[int]]:
    """(inputs, targets, is_answer), each of `length`; the document must be longer than that."""
    targets, is_answer = self.ids[1:length + 1], [0] * length
    for begin, end in self._answers:
      for i in range(begin - 1, min(end, length)):
        is_answer[i] = 1
      if end <= length:
        targets[end - 1] = END_ID
    return self.ids[:length], targets, is_answer


@dataclasses.dataclass(frozen=True)
class Mixture:
  """How training documents are drawn: shares of word lists, of recaps among the questions, and of
  stories from either kind of small pools; `direct` as in Story."""

  repeat: float = 0.0
  recap: float = 0.0
  collide: float = 0.0
  near_miss: float = 0.0
  direct: bool = False

  def pools(self, rng: random.Random) -> Pools:
    x = rng.random()
    if x < self.collide:
      return Pools.colliding(rng)
    return Pools.near_misses(rng) if x < self.collide + self.near_miss else Pools()


def training_document(rng: random.Random, encode: Encode, length: int, mix: Mixture) -> Document:
  if rng.random() < mix.repeat:
    return _word_list(rng, encode, length)
  return _story_document(rng, encode, length, mix)


def _word_list(rng: random.Random, encode: Encode, length: int) -> Document:
  """A list of random words said again and again: the densest signal for an induction head."""
  document = Document()
  words = "".join(" " + rng.choice(WORDS) for _ in range(rng.randint(5, length // 2 - 2)))
  line = encode("\nSay:") + encode(words)
  document.add(line)
  document.add_answer(line * (length // len(line) + 1))
  return document


def _story_document(rng: random.Random, encode: Encode, length: int, mix: Mixture) -> Document:
  """A story over 30-90 % of the length, then questions to the end. A recap repeats a fact word by
  word: the simplest task that needs the heads which the questions use later."""
  story = Story(rng, direct=mix.direct, pools=mix.pools(rng))
  budget = int(length * rng.uniform(0.3, 0.9)) if length > 64 else 36
  document = Document()
  questions: list[Question] = []
  told: list[list[int]] = []
  document.add(encode(OPENING))
  while True:
    fact = story.next_fact()
    ids = encode(" " + fact.sentence)
    if len(document) + len(ids) > budget and questions:
      break
    document.add(ids)
    questions += fact.questions
    told += [ids] if fact.questions else []
  _ask(rng, encode, document, questions, told, length, mix)
  return document


def _ask(rng: random.Random, encode: Encode, document: Document, questions: list[Question],
         told: list[list[int]], length: int, mix: Mixture) -> None:
  deck: list[Question] = []
  while len(document) <= length:
    if rng.random() < mix.recap:
      ids = rng.choice(told)
      document.add(encode("\nRecap:") + ids[:1])
      document.add_answer(ids[1:])
      continue
    if not deck:
      deck = rng.sample(questions, len(questions))
    question = deck.pop()
    document.add(encode(question.prompt()))
    document.add_answer(encode(f" {question.answer}."))


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A held-out prompt with one question; `length` counts its tokens with the first END. The last
  two fields are what trivial strategies answer: the last fact, the last fact of the same kind."""

  text: str
  answer: str
  kind: str
  length: int
  last_answer: str
  last_answer_of_kind: str


def evaluation_prompt(rng: random.Random, encode: Encode, length: int) -> Prompt:
  """A prompt of at most `length` tokens about held-out combinations."""
  story, text = Story(rng, held_out=True, direct=True), OPENING
  questions: list[Question] = []
  used = 1 + len(encode(text))
  while True:
    fact: Fact = story.next_fact()
    used += len(encode(" " + fact.sentence))
    if used > length - QUESTION_ROOM and questions:
      break
    text += " " + fact.sentence
    questions += fact.questions
  question = rng.choice(questions)
  text += question.prompt()
  same = [other.answer for other in questions if other.kind == question.kind]
  return Prompt(text, question.answer, question.kind, 1 + len(encode(text)),
                questions[-1].answer, same[-1])


def evaluation_prompts(encode: Encode, count: int, seed: int, shortest: int,
                       longest: int) -> list[Prompt]:
  """Prompts of at least `shortest` tokens with limits uniform in [shortest, longest]."""
  rng = random.Random(seed)
  prompts: list[Prompt] = []
  while len(prompts) < count:
    prompt = evaluation_prompt(rng, encode, rng.randint(shortest, longest))
    if prompt.length >= shortest:
      prompts.append(prompt)
  return prompts
