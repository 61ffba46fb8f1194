"""Evaluated positions: where a pair's next-token distributions are read (method section 3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headscope.errors import InputError
from headscope.pairs.tokens import Tokens, shared_length

Positions = str | Sequence[int] | Sequence[Sequence[int]] | None


def choose(wanted: Any, index: int, clean: Tokens, corrupt: Tokens, answer: int | None = None) -> Tokens:
    """The evaluated positions of one pair, sorted and counted from its start.

    wanted: ``"last"`` or None, ``"answer"`` (from position ``answer`` on, or without one from the first differing
        token), a list for all pairs (negative numbers count from the end), or a list of lists, of which
        ``index`` picks one.
    Raises InputError where it is none of these.
    """
    length = len(clean)
    if wanted is None or (isinstance(wanted, str) and wanted == "last"):
        return np.array([length - 1], dtype=np.int64)
    if isinstance(wanted, str) and wanted == "answer":
        start = shared_length(clean, corrupt) if answer is None else answer
        return np.arange(min(start, length - 1), length)
    if isinstance(wanted, str) or not len(wanted):
        raise InputError(f"positions {wanted!r} are unknown; give 'last', 'answer' or a list of token positions")
    if np.ndim(wanted[0]) and index >= len(wanted):
        raise InputError(f"found positions for {len(wanted)} pairs; give one list for all, or one for each pair")
    chosen = np.asarray(wanted if np.ndim(wanted[0]) == 0 else wanted[index])
    if chosen.dtype.kind not in "iu" or (chosen < -length).any():
        raise InputError(_outside(index, chosen, length))
    return np.unique(np.where(chosen < 0, chosen + length, chosen).astype(np.int64))


def check_count(wanted: Any, pairs: int) -> None:
    """Raise InputError where lists of positions are more or fewer than pairs."""
    if wanted is not None and not isinstance(wanted, str) and np.ndim(wanted[0]) and len(wanted) != pairs:
        raise InputError(f"found positions for {len(wanted)} pairs; give one list for all, or one for each of {pairs}")


def check(index: int, positions: Tokens, length: int) -> None:
    """Raise InputError unless there is a position and all lie inside the text of pair ``index``."""
    if not len(positions) or positions.min() < 0 or positions.max() >= length:
        raise InputError(_outside(index, positions, length))


def _outside(index: int, positions: np.ndarray, length: int) -> str:
    return (
        f"pair {index} is evaluated at positions {positions.tolist()}; allowed are whole numbers from 0 to "
        f"{length - 1}, or below 0 from the end, at least one"
    )
