"""Rows of token ids, and what is asked of the two of a pair."""

from typing import Any

import numpy as np
from jaxtyping import Int

from headscope.errors import InputError

# "_": texts of one set differ in length.
Tokens = Int[np.ndarray, "_"]


def rows(tokens: Any) -> list[Tokens]:
    """Rows of ids from an array, a torch tensor on any device, or a list of rows."""
    array = tokens.detach().cpu() if hasattr(tokens, "detach") else tokens
    return [np.asarray(row, dtype=np.int64) for row in array]


def shared_length(clean: Tokens, corrupt: Tokens) -> int:
    """Number of leading tokens that are equal in two texts of one length."""
    different = np.flatnonzero(clean != corrupt)
    return int(different[0]) if len(different) else len(clean)


def check_lengths(index: int, clean: Tokens, corrupt: Tokens) -> None:
    """Raise InputError unless both texts of pair ``index`` are equally long and not empty."""
    if len(clean) != len(corrupt) or not len(clean):
        found = f"{len(clean)} clean and {len(corrupt)} corrupt tokens"
        raise InputError(f"pair {index} has {found}; both texts of a pair need the same length, at least 1")
