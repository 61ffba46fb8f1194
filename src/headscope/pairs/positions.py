"""Evaluated positions, at which a pair's next-token distributions are read (method section 3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headscope.errors import InputError
from headscope.pairs.tokens import Tokens, shared_length

Positions = str | Sequence[int] | Sequence[Sequence[int]] | None
# What a caller may have given instead, before it is checked.
_Unchecked = str | Sequence[Any] | None


def resolve_positions(
    positions: _Unchecked, index: int, clean: Tokens, corrupt: Tokens, answer_start: int | None = None
) -> Tokens:
    """Return the evaluated positions of one pair, sorted and counted from its start.

    Args:
        positions: ``"last"`` or None, ``"answer"``, a list for all pairs (negative numbers count from the end), or a
            list of lists.
        index: index of the pair, and of its list.
        clean: token ids of the clean text.
        corrupt: token ids of the corrupt text.
        answer_start: where ``"answer"`` begins; None means at the first differing token.

    Raises:
        InputError: if ``positions`` is none of these.
    """
    length = len(clean)
    if positions is None or (isinstance(positions, str) and positions == "last"):
        return np.array([length - 1], dtype=np.int64)
    if isinstance(positions, str) and positions == "answer":
        start = shared_length(clean, corrupt) if answer_start is None else answer_start
        # Two equal texts have no answer; the last position is used instead.
        return np.arange(min(start, length - 1), length)
    if isinstance(positions, str) or not len(positions):
        raise InputError(f"positions {positions!r} are unknown; give 'last', 'answer' or a list of token positions")
    if np.ndim(positions[0]) and index >= len(positions):
        raise InputError(f"found positions for {len(positions)} pairs; give one list for all, or one for each pair")
    chosen = np.asarray(positions[index] if np.ndim(positions[0]) else positions)
    if chosen.dtype.kind not in "iu" or (chosen < -length).any():
        raise InputError(_describe_outside(index, chosen, length))
    return np.unique(np.where(chosen < 0, chosen + length, chosen).astype(np.int64))


def check_position_lists(positions: _Unchecked, pairs: int) -> None:
    """Raise InputError if there are lists of positions, but not one per pair."""
    if positions is not None and not isinstance(positions, str) and np.ndim(positions[0]) and len(positions) != pairs:
        counts = f"found positions for {len(positions)} pairs"
        raise InputError(f"{counts}; give one list for all, or one for each of {pairs}")


def check_positions(index: int, positions: Tokens, length: int) -> None:
    """Raise InputError unless there is a position and all lie inside the text of pair ``index``."""
    if not len(positions) or positions.min() < 0 or positions.max() >= length:
        raise InputError(_describe_outside(index, positions, length))


def _describe_outside(index: int, positions: np.ndarray, length: int) -> str:
    return (
        f"pair {index} is evaluated at positions {positions.tolist()}; allowed are whole numbers from 0 to "
        f"{length - 1}, or below 0 from the end, at least one"
    )
