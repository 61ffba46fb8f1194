"""What heads write in other problems' texts, laid out so that every token finds its counterpart."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.errors import InputError
from headscope.interventions.means import head_writes
from headscope.interventions.spans import PADDING, PARTS, Markers, Reader, token_parts


@dataclass(frozen=True, eq=False)
class _Donor:
    """One text. prompt: its tokens of that part. positions: by part, where it stands in the bank; all of the text where
    it has no such part."""

    prompt: tuple[int, ...]
    positions: tuple["Int[np.ndarray, '_']", ...]


@dataclass(eq=False)
class ResampleBank:
    """A ``Fill``: z of another problem's text at the same place of the same part.

    bank: z of all texts' tokens by layer, [token, heads side by side]. reader: where each row of the pass is.
    A row's donor is drawn by ``seed`` and the row's own prompt: it depends neither on the batch nor on the sample.
    """

    bank: dict[int, Float[Tensor, "token z"]]
    donors: list[_Donor]
    reader: Reader
    seed: int
    _chosen: dict[tuple[int, ...], _Donor] = field(default_factory=dict)

    @classmethod
    def capture(
        cls, model: Any, texts: Sequence[Sequence[int]], layers: Sequence[int], reader: Reader, seed: int
    ) -> "ResampleBank":
        """From texts as token ids. Raises InputError where there is none."""
        texts = [text for text in texts if len(text)]
        if not texts:
            raise InputError("found no reference text to resample from; at least one of another problem is needed")
        writes = list(head_writes(model, texts, layers))
        bank = {layer: torch.cat([each[layer] for each in writes]) for layer in layers}
        starts = np.cumsum([0, *map(len, texts)])
        markers = reader.markers
        return cls(bank, [_donor(t, int(s), markers) for t, s in zip(texts, starts, strict=False)], reader, seed)

    def at(self, layer: int) -> Float[Tensor, "row token z"]:
        """z of ``layer`` for the reader's current pass."""
        bank = self.bank[layer]
        return bank[torch.as_tensor(self._index(), device=bank.device)]

    def _index(self) -> Int[np.ndarray, "row token"]:
        index = np.zeros(self.reader.parts.shape, dtype=np.int64)
        for row, prompt in enumerate(self.reader.prompts):
            donor, parts, places = self._of(prompt), self.reader.parts[row], self.reader.places[row]
            for part in set(parts.tolist()) - {PADDING}:
                here, there = parts == part, donor.positions[part]
                index[row, here] = there[places[here] % len(there)]
        return index

    def _of(self, prompt: tuple[int, ...]) -> _Donor:
        if prompt not in self._chosen:
            others = [each for each in self.donors if not _alike(each.prompt, prompt)]
            if not others:
                raise InputError(
                    f"all {len(self.donors)} reference texts are of the problem they would stand in for; "
                    "resampling needs one of another problem"
                )
            key = hashlib.blake2b(f"{self.seed}/{prompt}".encode(), digest_size=8).digest()
            self._chosen[prompt] = others[int.from_bytes(key, "big") % len(others)]
        return self._chosen[prompt]


def _donor(text: Sequence[int], start: int, markers: Markers) -> _Donor:
    parts = token_parts(text, markers)
    prompt = tuple(int(token) for token, part in zip(text, parts, strict=True) if part == 0)
    whole = np.arange(len(text))
    found = [np.flatnonzero(parts == part) for part in range(len(PARTS))]
    return _Donor(prompt, tuple(start + (where if len(where) else whole) for where in found))


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one begins with the other: the same problem, be it asked or answered."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]
