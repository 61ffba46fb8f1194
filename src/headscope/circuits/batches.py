"""Batches of pairs: right-aligned, split into a shared prefix that is run once and an ending.

Pairs of different lengths share a batch: prefixes are padded on the left and masked, positions count from each text's
own first token, and every ending is as long as the longest one needed (a shorter pair adds tokens of its prefix,
which are equal in both texts and so contribute exactly nothing to any score).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.errors import InputError
from headscope.models import HeadAccess
from headscope.pairs import Pair, Pairs, Tokens
from headscope.pairs.tokens import check_texts_fit

# Beyond this many tokens per pass a CPU gets no faster and its caches overflow (measured on the lab's models).
CPU_TOKENS = 2048
# Rows of a pair (mostly quadrature nodes) expected to run together when a batch's size is chosen.
EXPECTED_ROWS_PER_PAIR = 8


class Sizes(NamedTuple):
    """The three numbers that decide how much memory a run of one pair takes.

    ending: number of tokens of its ending. total: of its text. columns: number of evaluated positions.
    """

    ending: int
    total: int
    columns: int

    @classmethod
    def of(cls, pair: Pair, whole: bool = False) -> "Sizes":
        """Return the sizes of ``pair``; with ``whole`` its ending is the entire text."""
        total = len(pair.clean)
        return cls(total if whole else pair.ending, total, len(pair.positions))


@dataclass(frozen=True, eq=False)
class Batch:
    """Several pairs as tensors, with S prefix and T ending positions.

    indices: places of the pairs in their set.
    prefix: token ids that both texts of a pair share; padding is id 0.
    clean: token ids of the clean endings.
    corrupt: token ids of the corrupt endings.
    mask: 1 for tokens, 0 for padding, over prefix and ending.
    position_ids: each text's own positions, over prefix and ending.
    columns: ending positions that are evaluated in any of the pairs; on the CPU, so that it can index any device.
    weights: per pair 1/(number of its evaluated positions) in its own columns, 0 in the others.
    labels: right and wrong next token, or None.
    follow: the token that follows each evaluated column in the clean text, −1 after the last token.
    vocabulary: logits are read over this many first entries; None for all.
    """

    indices: tuple[int, ...]
    prefix: Int[Tensor, "pair prefix"]
    clean: Int[Tensor, "pair ending"]
    corrupt: Int[Tensor, "pair ending"]
    mask: Int[Tensor, "pair total"]
    position_ids: Int[Tensor, "pair total"]
    columns: Int[Tensor, " column"]
    weights: Float[Tensor, "pair column"]
    labels: Int[Tensor, "pair 2"] | None
    follow: Int[Tensor, "pair column"]
    vocabulary: int | None = None

    @property
    def ending(self) -> int:
        """Return T, the number of ending positions."""
        return self.clean.shape[1]

    @property
    def sizes(self) -> Sizes:
        """Return the sizes of every pair of the batch, which are padded to the same ones."""
        return Sizes(self.ending, self.mask.shape[1], len(self.columns))

    def take(self, pairs: list[int]) -> "Batch":
        """Return the batch of ``pairs``, given by their place in this one; a pair may be named several times."""
        return replace(
            self,
            indices=tuple(self.indices[pair] for pair in pairs),
            prefix=self.prefix[pairs],
            clean=self.clean[pairs],
            corrupt=self.corrupt[pairs],
            mask=self.mask[pairs],
            position_ids=self.position_ids[pairs],
            weights=self.weights[pairs],
            labels=None if self.labels is None else self.labels[pairs],
            follow=self.follow[pairs],
        )


def check_pairs(pairs: object, *, differ: bool = True) -> None:
    """Raise InputError unless ``pairs`` are ``Pairs``.

    differ: whether at least one pair's texts must differ up to the last position that is read.
    """
    if not isinstance(pairs, Pairs):
        raise InputError(f"pairs are {type(pairs).__name__}; give Pairs, as Pairs.from_text makes them")
    if differ and all(pair.shared > pair.positions.max() for pair in pairs):
        raise InputError("no corrupt text differs from its clean one up to the last position that is read; give others")


def group_pairs(pairs: Pairs, access: HeadAccess, capacity: Callable[[int, int], int]) -> list[list[int]]:
    """Return which pairs to run side by side: similar ones, preferably with the same prefix (``Pairs.groups``).

    capacity: largest number of pairs of (ending, total) positions in a batch; below 1 counts as 1.
    """
    _check_fit(pairs, access)
    batches: list[list[int]] = [[]]
    ending, total = 0, 0
    for index in chain.from_iterable(pairs.groups()):
        pair = pairs[index]
        # The batch's sizes if this pair joined it: everything is padded to the longest.
        ending, total = max(ending, pair.ending), max(total, len(pair.clean))
        if len(batches[-1]) >= max(1, capacity(ending, total)):
            batches.append([])
            ending, total = pair.ending, len(pair.clean)
        batches[-1].append(index)
    return batches


def _check_fit(pairs: Pairs, access: HeadAccess) -> None:
    """Raise InputError if a token is outside the model's vocabulary or a text is too long for it."""
    check_texts_fit([*pairs.clean, *pairs.corrupt], access.vocabulary, access.longest)
    if pairs.vocabulary is not None and pairs.vocabulary > access.vocabulary:
        raise InputError(
            f"pairs are compared over {pairs.vocabulary} vocabulary entries and the model has {access.vocabulary}; "
            "make them for the smaller vocabulary (Pairs.within)"
        )


def collate(pairs: Pairs, indices: Sequence[int], device: torch.device, ending: int = 0) -> Batch:
    """Return the pairs at ``indices`` as one batch; ``ending`` is the least length of their endings, in tokens."""
    members = [pairs[index] for index in indices]
    lengths = np.array([len(pair.clean) for pair in members])
    total = int(lengths.max())
    # At least 1, so that a pair of two equal texts still has an ending to run.
    ending = max(ending, *(pair.ending for pair in members), 1)
    split = total - ending
    clean = _align_right([pair.clean for pair in members], total)
    corrupt = _align_right([pair.corrupt for pair in members], total)
    positions = np.arange(total) - (total - lengths[:, None])  # below 0 in the padding
    columns, weights, follow = _evaluation_columns(members, ending)
    labels = None if pairs.labels is None else torch.as_tensor(pairs.labels[list(indices)], device=device)
    return Batch(
        indices=tuple(indices),
        prefix=torch.as_tensor(clean[:, :split], device=device),
        clean=torch.as_tensor(clean[:, split:], device=device),
        corrupt=torch.as_tensor(corrupt[:, split:], device=device),
        mask=torch.as_tensor((positions >= 0).astype(np.int64), device=device),
        position_ids=torch.as_tensor(positions.clip(0), device=device),
        columns=torch.as_tensor(columns),
        weights=torch.as_tensor(weights, device=device),
        labels=labels,
        follow=torch.as_tensor(follow, device=device),
        vocabulary=pairs.vocabulary,
    )


def _align_right(rows: Sequence[Tokens], total: int) -> Int[np.ndarray, "row total"]:
    # On the right, so that last tokens share a column and one cache length serves all pairs.
    table = np.zeros((len(rows), total), dtype=np.int64)
    for row, tokens in zip(table, rows, strict=True):
        row[total - len(tokens) :] = tokens
    return table


def _evaluation_columns(
    pairs: Sequence[Pair], ending: int
) -> tuple[Int[np.ndarray, " column"], Float[np.ndarray, "pair column"], Int[np.ndarray, "pair column"]]:
    """Return the union of evaluated ending positions, each pair's weights in it, and the clean tokens that follow."""
    positions = [pair.positions - (len(pair.clean) - ending) for pair in pairs]
    columns = np.unique(np.concatenate(positions))
    # Float32, because they multiply losses, which are float32 whatever the model's type.
    weights = np.zeros((len(pairs), len(columns)), dtype=np.float32)
    follow = np.full((len(pairs), len(columns)), -1, dtype=np.int64)
    for row, pair in enumerate(pairs):
        places = np.searchsorted(columns, positions[row])
        weights[row, places] = 1 / len(places)
        has_next = pair.positions + 1 < len(pair.clean)
        follow[row, places[has_next]] = pair.clean[pair.positions[has_next] + 1]
    return columns, weights, follow
