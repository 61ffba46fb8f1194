"""Rows of token ids, and checks of what a model can read and of the two rows of a pair."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from headscope.errors import InputError

# "_": texts of one set differ in length.
Tokens = Int[np.ndarray, "_"]
# An array or a torch tensor [row, token], or rows of differing lengths; what is in them is checked, not assumed.
TokenRows = Iterable[object]


def token_rows(tokens: TokenRows) -> list[Tokens]:
    """Return rows of ids from an array, a torch tensor on any device, or a list of rows.

    Raises InputError if a row holds anything but whole numbers of 0 or more.
    """
    array = tokens.detach().cpu() if hasattr(tokens, "detach") else tokens
    return [_check_row(index, np.asarray(row)) for index, row in enumerate(array)]


def _check_row(index: int, row: np.ndarray) -> Tokens:
    if row.size and (row.ndim != 1 or row.dtype.kind not in "iu" or row.min() < 0):
        content = (
            f"{row.ndim} axes of {row.dtype}" if row.ndim != 1 or row.dtype.kind not in "iu" else f"id {row.min()}"
        )
        raise InputError(f"row {index} of token ids holds {content}; give whole numbers from 0 on, one row per text")
    return row.astype(np.int64).reshape(-1)  # an empty list comes as float64


def check_texts_fit(texts: Iterable[Sequence[int] | Tokens], vocabulary: int, longest: int | None = None) -> None:
    """Raise InputError if a text holds an id outside the vocabulary, or more tokens than ``longest`` (None: any)."""
    for text in texts:
        highest = int(np.max(text, initial=0))
        if highest >= vocabulary:
            raise InputError(
                f"texts hold token id {highest}; the model's vocabulary allows 0-{vocabulary - 1}, so the ids may be "
                "another tokenizer's"
            )
        if longest is not None and len(text) > longest:
            raise InputError(f"found a text of {len(text)} tokens; the model's learned positions allow {longest}")


def shared_length(clean: Tokens, corrupt: Tokens) -> int:
    """Return the number of leading tokens that are equal in two texts of one length."""
    different = np.flatnonzero(clean != corrupt)
    return int(different[0]) if len(different) else len(clean)


def check_lengths(index: int, clean: Tokens, corrupt: Tokens) -> None:
    """Raise InputError unless both texts of pair ``index`` are equally long and not empty."""
    if len(clean) != len(corrupt) or not len(clean):
        lengths = f"{len(clean)} clean and {len(corrupt)} corrupt tokens"
        raise InputError(f"pair {index} has {lengths}; both texts of a pair need the same length, at least 1")
