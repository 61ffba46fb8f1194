"""Pairs for a pretrained chat model: names to be told apart, copies to be continued, and two ways to open an answer.

Each set is drawn from a seed, and its texts differ in one token (``names``, ``copies``) or in all of the opening.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from headscope.pairs import Pairs

OPENING = 16
_NAMES = [
    *("John", "Mary", "Tom", "James", "Dan", "Martin", "Amy", "Paul", "Mark", "Kate", "Sarah", "Anna", "Peter"),
    *("David", "Laura", "Jack", "Alice", "Simon", "Kevin", "Steve", "Jason", "Brian", "Emily", "Robert", "Michael"),
    "Daniel",
]
_PLACES = ["store", "garden", "restaurant", "school", "hospital", "office", "house", "station"]
_THINGS = ["ring", "kiss", "bone", "basketball", "computer", "necklace", "drink", "snack"]
_SENTENCES = (
    "When {a} and {b} went to the {place}, {c} gave a {thing} to",
    "Then, {a} and {b} had a long argument at the {place}, and afterwards {c} said to",
    "After {a} and {b} met at the {place}, {c} decided to give a {thing} to",
    "Friends {a} and {b} found a {thing} at the {place}. {c} gave it to",
)
_OBJECTS = ["apples", "books", "coins", "shells", "stamps", "marbles", "pencils", "stickers"]
_PROBLEMS = (
    "{a} has {x} {thing} and gets {y} more from {b}. How many {thing} does {a} have now?",
    "A box holds {x} {thing}. {a} buys {y} boxes and gives {x} {thing} to {b}. How many {thing} are left?",
    "{a} and {b} share {x} {thing}. {a} has {y} more than {b}. How many {thing} does {b} have?",
)
_REASONING = (
    "Okay, so I have this problem about {thing}. Let me read it once more and see what is asked.",
    "Alright, let me think about what {a} has here. First I should write the numbers down slowly.",
    "Hmm, so {a} has some {thing} here. Wait, let me check first which numbers I am given.",
)
_PLAIN = (
    "To determine how many {thing} there are, we need to add the numbers that are given in it.",
    "To solve this problem, we follow these steps. Step 1: Find the number of {thing} that",
    "We'll use the numbers that the problem gives us. The number of {thing} of {a} is given",
)


def names(tokenizer: Any, count: int, seed: int = 0) -> Pairs:
    """Two names, one of them again: the other comes next. In the corrupt text a third name stands there."""
    draw = np.random.default_rng(seed)
    known = [name for name in _NAMES if len(_ids(tokenizer, f" {name}")) == 1]
    clean, corrupt = [], []
    for _ in range(count):
        a, b, c = draw.choice(known, 3, replace=False)
        sentence = str(draw.choice(_SENTENCES))
        words = {"place": draw.choice(_PLACES), "thing": draw.choice(_THINGS)}
        clean.append(_ids(tokenizer, sentence.format(a=a, b=b, c=b, **words)))
        corrupt.append(_ids(tokenizer, sentence.format(a=a, b=b, c=c, **words)))
    return Pairs.from_tokens(clean, corrupt)


def copies(tokenizer: Any, count: int, seed: int = 0, length: int = 20) -> Pairs:
    """Random tokens and the same again but for the last; in the corrupt text the one before it is another the first
    time, so that nothing tells where to copy from."""
    draw = np.random.default_rng(seed)
    first = draw.integers(len(tokenizer) // 50, len(tokenizer) - 1000, (count, length))
    clean = np.concatenate([first, first[:, :-1]], axis=1)
    corrupt = clean.copy()
    corrupt[:, length - 2] = draw.permutation(first.ravel())[:count]
    return Pairs.from_tokens(clean.tolist(), corrupt.tolist())


def openings(tokenizer: Any, count: int, seed: int = 0) -> Pairs:
    """A word problem in the chat template, and an answer that opens as reasoning models do, or as others do."""
    draw = np.random.default_rng(seed)
    clean, corrupt = [], []
    for _ in range(count):
        a, b = draw.choice(_NAMES, 2, replace=False)
        x, y = draw.integers(2, 50, 2)
        words = {"a": a, "b": b, "x": x, "y": y, "thing": draw.choice(_OBJECTS)}
        content = str(draw.choice(_PROBLEMS)).format(**words)
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        for side, styles in ((clean, _REASONING), (corrupt, _PLAIN)):
            opening = _ids(tokenizer, str(draw.choice(styles)).format(**words))
            assert len(opening) >= OPENING, opening
            side.append([*prompt["input_ids"], *opening[:OPENING]])
    return Pairs.from_tokens(clean, corrupt)


def sums(tokenizer: Any, count: int, seed: int = 0) -> Pairs:
    """A sum told in words, from two first numbers; read where the digits of its result are predicted."""
    draw = np.random.default_rng(seed)
    clean, corrupt, positions = [], [], []
    for _ in range(count):
        first, second = (int(number) for number in draw.integers(14, 46, 2))
        other = first + int(draw.choice([-3, -2, -1, 1, 2, 3]))
        who, what = draw.choice(_NAMES), draw.choice(_OBJECTS)
        for texts, start in ((clean, first), (corrupt, other)):
            question = f"{who} has {start} {what} and gets {second} more. How many {what} does {who} have now?"
            texts.append(_ids(tokenizer, f"{question} {who} has {start} + {second} = {start + second}"))
        answer = len(_ids(tokenizer, str(first + second)))
        positions.append(list(range(-answer - 1, -1)))
    return Pairs.from_tokens(clean, corrupt, positions)


PAIR_SETS: dict[str, Callable[[Any, int], Pairs]] = {
    "names": names,
    "copies": copies,
    "openings": openings,
    "sums": sums,
}


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
