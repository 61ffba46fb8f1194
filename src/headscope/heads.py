"""Attention heads by name: ``HeadId``, immutable ``HeadSet``, and the boolean [layer, head] grid between them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

from headscope.errors import InputError

_SPELLINGS = re.compile(r"[Ll](\d+)[Hh](\d+)|a?(\d+)\.h?(\d+)")


class HeadId(NamedTuple):
    """One query head. Prints as people read it: ``L3H5``."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}"

    @classmethod
    def parse(cls, name: object) -> "HeadId":
        """Read ``L3H5``, ``3.5``, EAP-IG's ``a3.h5``, or a layer and a head.

        Raises InputError if the name is none of these.
        """
        if isinstance(name, tuple | list | np.ndarray) and len(name) == 2:
            layer, head = name
            if all(isinstance(part, int | np.integer) and not isinstance(part, bool) for part in (layer, head)):
                return cls(int(layer), int(head))
        match = _SPELLINGS.fullmatch(name.strip()) if isinstance(name, str) else None
        if match is None:
            raise InputError(f"head {name!r} is not a head's name; write it as L3H5, 3.5 or a3.h5")
        # Each spelling has two groups of its own; the other one's are None.
        layer, head = [group for group in match.groups() if group is not None]
        return cls(int(layer), int(head))


@dataclass(frozen=True, slots=True)
class HeadSet:
    """A set of heads, sorted by layer and head; equal sets print, hash and compare equal."""

    heads: tuple[HeadId, ...]

    @classmethod
    def of(cls, heads: "Heads") -> "HeadSet":
        """Return the set of names, ids or another set's heads, of one name or id, or of the true cells of a boolean
        [layer, head] grid; duplicates count once.

        Raises InputError if something is none of these.
        """
        if isinstance(heads, np.ndarray) and heads.dtype == bool and heads.ndim == 2:
            return cls.from_grid(heads)
        if not isinstance(heads, Iterable):
            raise InputError(
                f"heads are {heads!r}; give names such as L3H5, a HeadSet, or a boolean [layer, head] grid"
            )
        names = [heads] if isinstance(heads, str | HeadId) else heads
        return cls(tuple(sorted({HeadId.parse(name) for name in names})))

    @classmethod
    def from_grid(cls, grid: "Bool[np.ndarray, 'layer head']") -> "HeadSet":
        """Return the heads whose cell is true."""
        return cls(tuple(HeadId(int(layer), int(head)) for layer, head in np.argwhere(grid)))

    def grid(self, layers: int, heads: int) -> "Bool[np.ndarray, 'layer head']":
        """Return the boolean [layer, head] grid of a model with that many layers and query heads.

        Raises InputError if a head lies outside it, naming the range.
        """
        grid = np.zeros((layers, heads), dtype=bool)
        for head in self.heads:
            if not (0 <= head.layer < layers and 0 <= head.head < heads):
                raise InputError(
                    f"head {head} does not exist: the model has layers 0-{layers - 1} and heads 0-{heads - 1}"
                )
            grid[head.layer, head.head] = True
        return grid

    def layer_profile(self) -> dict[int, int]:
        """Return how many heads the set has in each layer that has any."""
        return dict(Counter(head.layer for head in self.heads))

    def __or__(self, right: "HeadSet") -> "HeadSet":
        return HeadSet.of({*self.heads, *right.heads})

    def __and__(self, right: "HeadSet") -> "HeadSet":
        return HeadSet.of(set(self.heads) & set(right.heads))

    def __sub__(self, right: "HeadSet") -> "HeadSet":
        return HeadSet.of(set(self.heads) - set(right.heads))

    def __contains__(self, head: object) -> bool:
        """Return whether the head is in the set, also by name: ``"L3H5" in heads``."""
        return (HeadId.parse(head) if isinstance(head, str) else head) in self.heads

    def __iter__(self) -> Iterator[HeadId]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    def __str__(self) -> str:
        return " ".join(map(str, self.heads)) or "none"

    def names(self) -> list[str]:
        """Return ``["L3H5", …]``, for files and tables."""
        return [str(head) for head in self.heads]


Heads = HeadSet | HeadId | np.ndarray | Iterable[str | HeadId | Sequence[int]]
"""What names heads: a set, an id, a boolean [layer, head] grid, or names, ids and (layer, head)."""


def top_heads(values: "Num[np.ndarray, 'layer head']", count: int | None) -> list[HeadId]:
    """Return the ``count`` heads of largest absolute value, all for None; largest first, ties in the grid's order."""
    order = np.argsort(-np.abs(values), axis=None, kind="stable")[:count].tolist()
    return [HeadId(*divmod(index, values.shape[1])) for index in order]
