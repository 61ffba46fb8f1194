"""Rows of token ids, and what is asked of the two of a pair."""

from typing import Any

import numpy as np
from jaxtyping import Int

from headscope.errors import InputError

# "_": texts of one set differ in length.
Tokens = Int[np.ndarray, "_"]


def rows(tokens: Any) -> list[Tokens]:
    """Rows of ids from an array, a torch tensor on any device, or a list of rows.

    Raises InputError where one is not a row of whole numbers from 0 on.
    """
    array = tokens.detach().cpu() if hasattr(tokens, "detach") else tokens
    return [_row(index, np.asarray(row)) for index, row in enumerate(array)]


def _row(index: int, row: "np.ndarray[Any, np.dtype[Any]]") -> Tokens:
    if row.size and (row.ndim != 1 or row.dtype.kind not in "iu" or row.min() < 0):
        found = f"{row.ndim} axes of {row.dtype}" if row.ndim != 1 or row.dtype.kind not in "iu" else f"id {row.min()}"
        raise InputError(f"row {index} of token ids holds {found}; give whole numbers from 0 on, one row per text")
    return row.astype(np.int64).reshape(-1)


def shared_length(clean: Tokens, corrupt: Tokens) -> int:
    """Number of leading tokens that are equal in two texts of one length."""
    different = np.flatnonzero(clean != corrupt)
    return int(different[0]) if len(different) else len(clean)


def check_lengths(index: int, clean: Tokens, corrupt: Tokens) -> None:
    """Raise InputError unless both texts of pair ``index`` are equally long and not empty."""
    if len(clean) != len(corrupt) or not len(clean):
        found = f"{len(clean)} clean and {len(corrupt)} corrupt tokens"
        raise InputError(f"pair {index} has {found}; both texts of a pair need the same length, at least 1")
