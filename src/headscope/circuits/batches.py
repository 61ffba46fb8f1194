"""Pairs side by side: right-aligned, split into a shared prefix that is run once and an ending.

Pairs of different lengths share a batch: prefixes are padded on the left and masked, positions count from each
    text's own first token, and every ending is as long as the longest one needed (a shorter pair just takes tokens
    of its prefix along, which are equal in both texts and so add exactly nothing to any score).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.errors import InputError
from headscope.models import HeadAccess
from headscope.pairs import Pair, Pairs, Tokens

# Beyond this many tokens per pass a CPU gets no faster and its caches overflow (measured on the lab's
# models).
CPU_TOKENS = 2048
# Rows of a pair, quadrature nodes above all, expected to run together when a batch's size is chosen.
NODES = 8


class Sizes(NamedTuple):
    """What decides how much memory a run of one pair takes: tokens of its ending, of its text, evaluated positions."""

    ending: int
    total: int
    columns: int

    @classmethod
    def of(cls, pair: Pair, whole: bool = False) -> "Sizes":
        """A pair's own; with ``whole`` its ending is the whole text."""
        total = len(pair.clean)
        return cls(total if whole else pair.ending, total, len(pair.positions))


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pairs as tensors: S prefix and T ending positions.

    indices: which pairs of the set these are.
    prefix, clean, corrupt: token ids; padding is id 0.
    mask: 1 for tokens, 0 for padding, over prefix and ending.
    position_ids: each text's own positions, over prefix and ending.
    columns: ending positions that are evaluated in any of the pairs; on the CPU, where any device can be indexed by it.
    weights: per pair 1/(number of its evaluated positions) in its own columns, 0 in the others.
    labels: right and wrong next token, or None.
    follow: the token that follows each evaluated column in the clean text, −1 after the last token.
    vocabulary: logits are read of so many first entries; None for all.
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
        """T, the number of ending positions."""
        return self.clean.shape[1]

    @property
    def sizes(self) -> Sizes:
        """Of each of its pairs."""
        return Sizes(self.ending, self.mask.shape[1], len(self.columns))

    def chosen(self, pairs: list[int]) -> "Batch":
        """These of its pairs, by their place in the batch; one may be chosen again and again."""
        rows = {name: getattr(self, name)[pairs] for name in ("prefix", "clean", "corrupt", "mask", "position_ids")}
        return replace(
            self,
            indices=tuple(self.indices[pair] for pair in pairs),
            weights=self.weights[pairs],
            labels=None if self.labels is None else self.labels[pairs],
            follow=self.follow[pairs],
            **rows,
        )


def alike(pairs: Pairs, access: HeadAccess, most: Callable[[int, int], int]) -> list[list[int]]:
    """Which pairs to run side by side: alike ones next to each other, those of one prefix above all (``Pairs.groups``).

    most: how many pairs of (ending, total) positions may share a batch; below 1 counts as 1.
    """
    _check_fit(pairs, access)
    endings = [pair.ending for pair in pairs]
    groups: list[list[int]] = [[]]
    for index in (index for group in pairs.groups() for index in group):
        together = [*groups[-1], index]
        ending, total = max(endings[one] for one in together), max(len(pairs[one].clean) for one in together)
        if len(groups[-1]) >= max(1, most(ending, total)):
            groups.append([])
        groups[-1].append(index)
    return groups


def _check_fit(pairs: Pairs, access: HeadAccess) -> None:
    """Raises InputError where a token or a text is not one the model can read."""
    check_tokens(pairs, access.vocabulary)
    if pairs.vocabulary is not None and pairs.vocabulary > access.vocabulary:
        raise InputError(
            f"pairs are compared over {pairs.vocabulary} vocabulary entries and the model has {access.vocabulary}; "
            "make them for the smaller vocabulary (Pairs.within)"
        )
    longest = max(len(text) for text in pairs.clean)
    if access.longest is not None and longest > access.longest:
        raise InputError(f"pairs hold a text of {longest} tokens; the model's learned positions allow {access.longest}")


def check_tokens(pairs: Pairs, vocabulary: int) -> None:
    """Raise InputError where a token is not among the first ``vocabulary`` entries, which all models can read."""
    highest = max(int(max(pair.clean.max(), pair.corrupt.max())) for pair in pairs)
    if highest >= vocabulary:
        raise InputError(f"pairs hold token id {highest}; the model's vocabulary allows 0-{vocabulary - 1}")


def collate(pairs: Pairs, indices: Sequence[int], device: torch.device, ending: int = 0) -> Batch:
    """The named pairs as one batch; ``ending`` asks for a longer ending than they need."""
    chosen = [pairs[index] for index in indices]
    total = max(len(pair.clean) for pair in chosen)
    ending = max(ending, *(pair.ending for pair in chosen), 1)
    clean = _right_aligned([pair.clean for pair in chosen], total)
    corrupt = _right_aligned([pair.corrupt for pair in chosen], total)
    lengths = np.array([len(pair.clean) for pair in chosen])[:, None]
    own = np.arange(total) - (total - lengths)
    columns, weights, follow = _evaluated(chosen, ending)
    split = total - ending
    labels = None if pairs.labels is None else torch.as_tensor(pairs.labels[list(indices)], device=device)
    return Batch(
        indices=tuple(indices),
        prefix=torch.as_tensor(clean[:, :split], device=device),
        clean=torch.as_tensor(clean[:, split:], device=device),
        corrupt=torch.as_tensor(corrupt[:, split:], device=device),
        mask=torch.as_tensor((own >= 0).astype(np.int64), device=device),
        position_ids=torch.as_tensor(own.clip(0), device=device),
        columns=torch.as_tensor(columns),
        weights=torch.as_tensor(weights, device=device),
        labels=labels,
        follow=torch.as_tensor(follow, device=device),
        vocabulary=pairs.vocabulary,
    )


def _right_aligned(rows: Sequence[Tokens], total: int) -> Int[np.ndarray, "row total"]:
    table = np.zeros((len(rows), total), dtype=np.int64)
    for row, tokens in zip(table, rows, strict=True):
        row[total - len(tokens) :] = tokens
    return table


def _evaluated(
    pairs: Sequence[Pair], ending: int
) -> tuple[Int[np.ndarray, " column"], Float[np.ndarray, "pair column"], Int[np.ndarray, "pair column"]]:
    """Union of evaluated ending positions, each pair's weights in it, the clean tokens that follow."""
    own = [pair.positions - (len(pair.clean) - ending) for pair in pairs]
    columns = np.unique(np.concatenate(own))
    weights = np.zeros((len(pairs), len(columns)), dtype=np.float32)
    follow = np.full((len(pairs), len(columns)), -1, dtype=np.int64)
    for row, (pair, positions) in enumerate(zip(pairs, own, strict=True)):
        picked = np.searchsorted(columns, positions)
        weights[row, picked] = 1 / len(positions)
        inside = pair.positions + 1 < len(pair.clean)
        follow[row, picked[inside]] = pair.clean[pair.positions[inside] + 1]
    return columns, weights, follow
