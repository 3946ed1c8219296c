"""Seeded generator of small stories made of random facts, each with the questions it answers.

Text only: nothing here knows about tokens. One combination in five of (number, colour, object),
(name, place) and (name, animal) is held out: training stories never use it, evaluation stories use
nothing else, so an answer cannot be recalled from training and has to be read in the prompt.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections.abc import Callable, Sequence

NAMES = """Mara Tom Lena Otto Iris Hugo Nora Felix Greta Pablo Rosa Simon Tilda Boris Clara Dario
Elsa Frank Gina Henry Ivan Julia Karl Lucy Milo Nina Oscar Paula Quinn Ralph Sofia Theo Ursula
Victor Wanda Xenia Yara Zeno Anton Berta Cyril Dora Edgar Fiona Gustav Hanna Igor Jana""".split()
COLOURS = "red green blue yellow black white brown pink grey purple orange golden".split()
OBJECTS = """apples pears plums keys coins books stones shells spoons cups candles buttons pencils
ribbons nuts eggs lemons bells rings maps nails feathers beans dolls marbles stamps brushes carrots
onions cookies balls letters""".split()
CONTAINERS = "box bag basket jar chest drawer bucket crate bowl trunk sack barrel".split()
PLACES = """garden kitchen library market station harbour school tower forest cellar museum bakery
bridge castle theatre stable""".split()
ANIMALS = """cats dogs horses birds rabbits goats ducks foxes bears wolves frogs mice owls sheep
bees turtles""".split()
NUMBERS = [str(n) for n in range(2, 21)]
FILLERS = ["It was a cold day.", "The wind was strong.", "Nobody said a word.", "The sun was low.",
           "It rained a little.", "The road was quiet."]
WORDS = NAMES + COLOURS + OBJECTS + CONTAINERS + PLACES + ANIMALS + NUMBERS
KINDS = ("content", "who", "place", "has", "like")

# Share of facts about containers; people have 0.52 and fillers the rest.
CONTAINER_SHARE = 0.42
# Names and container keys left unused in every story, so that drawing an unused one ends quickly.
SPARE_NAMES = 10
SPARE_KEY_SHARE = 0.25


def is_held_out(*parts: str) -> bool:
  """True for the fifth of all combinations that only evaluation stories use."""
  return zlib.crc32(" ".join(parts).encode()) % 5 == 0


@dataclasses.dataclass(frozen=True)
class Question:
  """A question about one fact. `kind` is one of KINDS."""

  text: str
  answer: str
  kind: str

  def prompt(self) -> str:
    return f"\nQ: {self.text}\nA:"


@dataclasses.dataclass(frozen=True)
class Fact:
  """One sentence and the questions it answers (none for filler)."""

  sentence: str
  questions: tuple[Question, ...] = ()


@dataclasses.dataclass
class Pools:
  """The words a story draws from; small pools make facts that differ in one word only."""

  numbers: Sequence[str] = tuple(NUMBERS)
  colours: Sequence[str] = tuple(COLOURS)
  objects: Sequence[str] = tuple(OBJECTS)
  key_colours: Sequence[str] = tuple(COLOURS)
  containers: Sequence[str] = tuple(CONTAINERS)
  container_share: float = CONTAINER_SHARE
  unnamed_share: float = 0.4  # of containers that nobody is said to have filled

  @classmethod
  def colliding(cls, rng: random.Random) -> Pools:
    """Few distinct numbers, and sometimes few colours and container nouns: after the first word of
    an answer the right continuation cannot be found from that word alone."""
    pools = cls(numbers=rng.sample(NUMBERS, rng.choice((2, 4, 8))))
    if rng.random() < 0.5:
      pools.colours = rng.sample(COLOURS, rng.choice((3, 6)))
    if rng.random() < 0.5:
      pools.key_colours = rng.sample(COLOURS, rng.choice((4, 8)))
      pools.containers = rng.sample(CONTAINERS, rng.choice((4, 8)))
    return pools

  @classmethod
  def near_misses(cls, rng: random.Random) -> Pools:
    """Many containers that share the noun, or the colour, with the one that is asked for."""
    pools = cls(container_share=0.65, unnamed_share=0.7)
    if rng.random() < 0.5:
      pools.numbers = rng.sample(NUMBERS, rng.choice((4, 8)))
    if rng.random() < 0.67:
      pools.containers = rng.sample(CONTAINERS, rng.choice((2, 3, 4)))
    else:
      pools.key_colours = rng.sample(COLOURS, rng.choice((2, 3, 4)))
    return pools


class Story:
  """Draws facts whose keys (person, container) are unique within the story.

  With `direct`, as in the evaluation, what is asked about a container comes right after its name.
  """

  def __init__(self, rng: random.Random, held_out: bool = False, direct: bool = False,
               pools: Pools | None = None):
    self._rng = rng
    self._held_out = held_out
    self._direct = direct
    self._pools = pools or Pools()
    self._names: set[str] = set()
    self._keys: set[str] = set()

  def next_fact(self) -> Fact:
    share = self._pools.container_share
    x = (self._rng.random() - share) * (1 - CONTAINER_SHARE) / (1 - share)
    if x < 0:
      return self._container()
    if x >= 0.52 or len(self._names) >= len(NAMES) - SPARE_NAMES:
      return Fact(self._rng.choice(FILLERS))
    return self._place() if x < 0.20 else self._has() if x < 0.40 else self._like()

  def _container(self) -> Fact:
    pools, rng = self._pools, self._rng
    if len(self._keys) >= (1 - SPARE_KEY_SHARE) * len(pools.key_colours) * len(pools.containers):
      return Fact(rng.choice(FILLERS))
    key = self._unused(
        self._keys, lambda: f"{rng.choice(pools.key_colours)} {rng.choice(pools.containers)}")
    things = self._things()
    content = Question(f"What is in the {key}?", things, "content")
    if rng.random() >= 1 - pools.unnamed_share:
      return Fact(f"In the {key} {things} lie." if self._direct else f"The {key} holds {things}.",
                  (content,))
    who = rng.choice(NAMES)
    filler = Question(f"Who filled the {key}?", who, "who")
    return Fact(f"In the {key} {who} put {things}.",
                (filler,) if self._direct else (content, filler))

  def _place(self) -> Fact:
    who, place = self._pair(PLACES)
    return Fact(f"{who} went to the {place}.", (Question(f"Where is {who}?", place, "place"),))

  def _has(self) -> Fact:
    who = self._unused(self._names, lambda: self._rng.choice(NAMES))
    things = self._things()
    return Fact(f"{who} has {things}.", (Question(f"What does {who} have?", things, "has"),))

  def _like(self) -> Fact:
    who, animal = self._pair(ANIMALS)
    return Fact(f"{who} likes {animal}.", (Question(f"What does {who} like?", animal, "like"),))

  @staticmethod
  def _unused(used: set[str], draw: Callable[[], str]) -> str:
    while (key := draw()) in used:
      pass
    used.add(key)
    return key

  def _allowed(self, *pools: Sequence[str]) -> tuple[str, ...]:
    while True:
      combination = tuple(self._rng.choice(pool) for pool in pools)
      if is_held_out(*combination) == self._held_out:
        return combination

  def _things(self) -> str:
    return " ".join(self._allowed(self._pools.numbers, self._pools.colours, self._pools.objects))

  def _pair(self, pool: Sequence[str]) -> tuple[str, str]:
    """An unused name and a word, drawn together: some names have few allowed words."""
    while True:
      who, word = self._allowed(NAMES, pool)
      if who not in self._names:
        self._names.add(who)
        return who, word
