"""Resample ablation: store what heads write in other problems' texts, by part and place of each token."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.errors import InputError
from headscope.interventions.means import head_writes
from headscope.interventions.spans import PADDING, PARTS, Markers, Reader, token_parts
from headscope.models.subject import SubjectOrModel
from headscope.pairs.tokens import TokenRows, token_rows


@dataclass(frozen=True, eq=False)
class _BankText:
    """One text of the bank.

    prompt: tokens of its prompt.
    positions: by part, the rows of the bank with its tokens; those of the whole text if it has no such part.
    """

    prompt: tuple[int, ...]
    positions: tuple[Int[np.ndarray, " _"], ...]


@dataclass(eq=False)
class ResampleBank:
    """A ``Fill``: z of another problem's text at the same place of the same part.

    A row's text is drawn by ``seed`` and the row's own prompt, and depends on neither batch nor sample. Without markers
    a row that begins with its answer, as in teacher forcing, is a prompt as a whole, and drawn for as that.

    bank: z of all texts' tokens by layer, [token, heads next to each other].
    texts: the texts of the bank.
    reader: follows the rows of the pass.
    seed: of the draw.
    """

    bank: dict[int, Float[Tensor, "token z"]]
    texts: list[_BankText]
    reader: Reader
    seed: int
    _chosen: dict[tuple[int, ...], _BankText] = field(default_factory=dict)

    @classmethod
    def capture(
        cls,
        model: SubjectOrModel,
        texts: TokenRows,
        layers: Sequence[int],
        reader: Reader,
        seed: int,
        prompts: Sequence[tuple[int, ...]] | None = None,
    ) -> "ResampleBank":
        """Return a bank of texts given as token ids.

        prompts: the prompt each text begins with; None reads it from the text, which without markers is all of it.
        Raises InputError if there is no text, or the model cannot read one.
        """
        rows = [row.tolist() for row in token_rows(texts)]
        prompts = [_prompt(text, reader.markers) for text in rows] if prompts is None else prompts
        prompts = [prompt for prompt, text in zip(prompts, rows, strict=True) if text]
        rows = [text for text in rows if text]
        if not rows:
            raise InputError("found no reference text to resample from; at least one of another problem is needed")
        writes = list(head_writes(model, rows, layers))
        bank = {layer: torch.cat([text_writes[layer] for text_writes in writes]) for layer in layers}
        bank_texts, start = [], 0
        for text, prompt in zip(rows, prompts, strict=True):
            bank_texts.append(_BankText(prompt, _positions(text, start, reader.markers)))
            start += len(text)
        return cls(bank, bank_texts, reader, seed)

    def at(self, layer: int) -> Float[Tensor, "row token z"]:
        """Return z of ``layer`` for the reader's current pass."""
        bank = self.bank[layer]
        return bank[torch.as_tensor(self._index(), device=bank.device)]

    def _index(self) -> Int[np.ndarray, "row token"]:
        """Return the row of the bank for each token of the pass."""
        index = np.zeros(self.reader.parts.shape, dtype=np.int64)
        for row, prompt in enumerate(self.reader.prompts):
            text, parts, places = self._text_for(prompt), self.reader.parts[row], self.reader.places[row]
            for part in set(parts.tolist()) - {PADDING}:
                in_part, positions = parts == part, text.positions[part]
                # A part longer than the text's starts again at the front.
                index[row, in_part] = positions[places[in_part] % len(positions)]
        return index

    def _text_for(self, prompt: tuple[int, ...]) -> _BankText:
        if prompt not in self._chosen:
            candidates = [text for text in self.texts if not _is_same_problem(text.prompt, prompt)]
            if not candidates:
                raise InputError(
                    f"all {len(self.texts)} reference texts are of the problem they would stand in for; "
                    "resampling needs one of another problem"
                )
            # Not Python's hash, which differs from process to process.
            key = hashlib.blake2b(f"{self.seed}/{prompt}".encode(), digest_size=8).digest()
            self._chosen[prompt] = candidates[int.from_bytes(key, "big") % len(candidates)]
        return self._chosen[prompt]


def _prompt(text: Sequence[int], markers: Markers) -> tuple[int, ...]:
    return tuple(int(token) for token, part in zip(text, token_parts(text, markers), strict=True) if part == 0)


def _positions(text: Sequence[int], start: int, markers: Markers) -> tuple[Int[np.ndarray, " _"], ...]:
    """Return ``_BankText.positions`` of a text whose first token is row ``start`` of the bank."""
    parts = token_parts(text, markers)
    positions = []
    for part in range(len(PARTS)):
        in_part = np.flatnonzero(parts == part)
        positions.append(start + (in_part if len(in_part) else np.arange(len(text))))
    return tuple(positions)


def _is_same_problem(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Return whether one prompt begins with the other: they are of one problem.

    A text without markers is a prompt as a whole, and begins with the prompt of every text of its problem.
    """
    shared = min(len(first), len(second))
    return first[:shared] == second[:shared]
