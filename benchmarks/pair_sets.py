"""Sets of clean and corrupt texts on which benchmarks score heads, for a real model and for the lab's.

- *openings*: an answer to a word problem begins in two styles, thinking aloud and to the point;
- *induction*: random tokens twice over; the corrupt text's first part is other tokens, so that nothing can be copied;
- *ioi*: "When Mary and John went to the shop, John gave a drink to"; the corrupt text has a third name for the second
  John (Wang et al., arXiv 2211.00593);
- *sums*: a sum told in words with another first number; read where the answer's digits are predicted;
- *leaf*: the lab's chains from another leaf digit (``headscope.lab.pairs``).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from headscope.lab.pairs import lab_pairs
from headscope.models import Subject
from headscope.pairs import Pairs

NAMES = ("Mary", "John", "Tom", "Anna", "Paul", "Lisa", "James", "Sarah", "Mark", "Laura")
PLACES, GIFTS = ("shop", "park", "school", "station"), ("drink", "book", "ball", "ring")
THINGS = ("apples", "books", "coins", "shells", "stamps")
THINKING = (
    "Okay, so I need to find out how many {things} {name} has. Let me think about this step by step.",
    "Hmm, let me see. The problem says that {name} has some {things} and then gets more of them.",
    "Let me think. First I should work out what the question about the {things} really asks for.",
)
DIRECT = (
    "To determine the number of {things} that {name} has, we add the two numbers that are given.",
    "We can solve this problem by adding the number of {things} that {name} starts with to the rest.",
    "The total number of {things} is the sum of what {name} has at first and of what comes later.",
)
OPENING = 16  # tokens


def openings(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Word problems whose answers begin in two styles."""
    draw = np.random.default_rng(seed)
    prompts, clean, corrupt = [], [], []
    for _ in range(count):
        name, things, first, second = _problem(draw)
        prompts.append([{"role": "user", "content": _question(name, things, first, second)}])
        clean.append(str(draw.choice(THINKING)).format(name=name, things=things))
        corrupt.append(str(draw.choice(DIRECT)).format(name=name, things=things))
    return Pairs.from_text(subject.tokenizer, clean, corrupt, prompts=prompts, k=OPENING)


def induction(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Twenty random tokens and the same without the last, against other tokens in the first part."""
    draw = np.random.default_rng(seed)
    vocabulary = subject.model.config.vocab_size
    first, other = draw.integers(vocabulary // 50, vocabulary - vocabulary // 50, (2, count, 20))
    return Pairs.from_tokens(
        np.concatenate([first, first[:, :-1]], axis=1), np.concatenate([other, first[:, :-1]], axis=1)
    )


def ioi(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Two names, one of them again, or a third."""
    draw = np.random.default_rng(seed)
    clean, corrupt = [], []
    for _ in range(count):
        first, second, third = draw.choice(NAMES, 3, replace=False)
        if draw.integers(2):
            first, second = second, first
        text = f"When {first} and {second} went to the {draw.choice(PLACES)}, {{}} gave a {draw.choice(GIFTS)} to"
        clean.append(text.format(second))
        corrupt.append(text.format(third))
    return Pairs.from_text(subject.tokenizer, clean, corrupt)


def sums(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Sums told in words: the first number and the answer differ, and so does nothing else."""
    draw = np.random.default_rng(seed)
    clean, corrupt = [], []
    for _ in range(count):
        name, things, first, second = _problem(draw)
        other = first + int(draw.choice([-3, -2, -1, 1, 2, 3]))
        for texts, start in ((clean, first), (corrupt, other)):
            texts.append(f"{_question(name, things, start, second)} {name} has {start} + {second} = {start + second}")
    encoded = [_encode(subject, texts) for texts in (clean, corrupt)]
    positions = []
    for index in range(count):
        length = len(encoded[0][index])
        answer = len(_encode(subject, [clean[index].rpartition("= ")[0] + "="])[0])
        positions.append(list(range(answer - 1, length - 1)))
    return Pairs.from_tokens(*encoded, positions)


def lab_openings(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Openings of the lab's traces."""
    return lab_pairs(subject.tokenizer, count, kind="opening", seed=seed)


def leaf(subject: Subject, count: int, seed: int = 0) -> Pairs:
    """Chains of the lab from two leaf digits."""
    return lab_pairs(subject.tokenizer, count, kind="leaf", seed=seed)


PairSet = Callable[[Subject, int, int], Pairs]
REAL: dict[str, PairSet] = {"openings": openings, "induction": induction, "ioi": ioi, "sums": sums}
LAB: dict[str, PairSet] = {"openings": lab_openings, "leaf": leaf}


def pair_sets(model: str) -> dict[str, PairSet]:
    """Return the sets of a named model."""
    return LAB if model.startswith("lab") else REAL


def _problem(draw: np.random.Generator) -> tuple[str, str, int, int]:
    """Return a name, a thing and two numbers of two digits whose sum has two."""
    first, second = (int(number) for number in draw.integers(14, 46, 2))
    return str(draw.choice(NAMES)), str(draw.choice(THINGS)), first, second


def _question(name: str, things: str, first: int, second: int) -> str:
    return f"{name} has {first} {things} and gets {second} more. How many {things} does {name} have now?"


def _encode(subject: Subject, texts: list[str]) -> list[Any]:
    tokenizer = subject.tokenizer
    assert tokenizer is not None
    return [tokenizer(text)["input_ids"] for text in texts]
