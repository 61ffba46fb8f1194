"""Loops: answers that repeat themselves until they are cut off, or come back to the same step again and again.

1. *Periodic tail*: the last tokens repeat with a period, at least ``REPEATS`` times and over ``LEAST_TOKENS`` tokens.
2. *Recurrence*: a step occurs in the answer at least ``REPEATS`` times, ignoring spaces and capitals.

Both take time in proportion to the answer's length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

LONGEST_PERIOD = 512
"""Tokens."""
REPEATS = 3
LEAST_TOKENS = 48
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Loop:
    """A periodic tail of a response.

    Attributes:
        start: the first token that repeats, from 0.
        period: number of tokens that are repeated.
        repeats: number of complete repetitions.
    """

    start: int
    period: int
    repeats: int


def find_loop(tokens: Sequence[int] | Int[np.ndarray, " token"], *, least_tokens: int = LEAST_TOKENS) -> Loop | None:
    """Return the periodic tail of a response, None if it has none.

    The tail has period p if each of its tokens equals the one p places before; the smallest p up to ``LONGEST_PERIOD``
    is returned.

    Args:
        tokens: ids of the whole response without its stop token.
        least_tokens: smallest number of tokens of the tail.
    """
    reversed_tokens = np.asarray(tokens, dtype=np.int64)[::-1]
    shortest_tail = max(least_tokens, REPEATS)
    # Only the last part decides which periods are possible: a tail of three periods must be periodic there already.
    window = reversed_tokens[: max(shortest_tail, REPEATS * LONGEST_PERIOD)]
    for period in _tail_periods(window):
        length = period + _equal_run(reversed_tokens[period:], reversed_tokens[:-period])
        if length >= max(shortest_tail, REPEATS * period):
            return Loop(len(reversed_tokens) - length, period, length // period)
    return None


def recurring_steps(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the steps that occur at least ``REPEATS`` times, each with its places among ``texts``.

    Steps that differ only in spaces and capitals are the same; empty ones are left out.
    """
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        if normalised := _SPACE.sub(" ", text).strip().casefold():
            places.setdefault(normalised, []).append(place)
    return {text: tuple(where) for text, where in places.items() if len(where) >= REPEATS}


def _tail_periods(reversed_tokens: "Int[np.ndarray, ' token']") -> list[int]:
    """Return the periods, ascending, with which the last tokens repeat at least twice more."""
    # Morris and Pratt's borders: a prefix has the period length − border, and no smaller one. The last REPEATS · p
    # tokens are a prefix of the reversed ones.
    count = len(reversed_tokens)
    symbols = reversed_tokens.tolist()
    borders = [0] * count
    border = 0
    periods = []
    for end in range(1, count):
        while border and symbols[end] != symbols[border]:
            border = borders[border - 1]
        if symbols[end] == symbols[border]:
            border += 1
        borders[end] = border
        length, period = end + 1, end + 1 - border
        if length == REPEATS * period and period <= LONGEST_PERIOD:
            periods.append(period)
    return periods


def _equal_run(first: "Int[np.ndarray, ' _']", second: "Int[np.ndarray, ' _']") -> int:
    """Return the number of leading places at which the two are equal."""
    differing = np.flatnonzero(first != second)
    return int(differing[0]) if len(differing) else len(first)
