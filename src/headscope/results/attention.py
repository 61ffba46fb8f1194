"""Attention: where heads of a base and of its variant look, in the same few texts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from headscope import display, storage
from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.results import frames, plots
from headscope.results.codec import Json, from_json
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LEVELS = 255
"""A weight a is kept as the whole number nearest to 255 √a: off by √a / 255 at most, so 0.004 of a weight near 1 and
0.0004 of one near 0.01, and 0 only below 0.000004. Evenly spaced levels would make the weights of a head that looks
everywhere, 1/256 each in 256 tokens, all 0 or all 1/255; as roots, a row's sum is also kept to about 0.002."""


def encode_rows(rows: Float[np.ndarray, "*head token token"]) -> UInt8[np.ndarray, "*head cell"]:
    """Return attention rows as levels, row by row from the first token on, each up to its own token."""
    query, key = np.tril_indices(rows.shape[-1])
    roots = np.sqrt(rows[..., query, key].clip(0, 1))
    cells: np.ndarray = np.rint(LEVELS * roots).astype(np.uint8)
    return cells


def decode_rows(cells: UInt8[np.ndarray, "*head cell"], tokens: int) -> Float[np.ndarray, "*head token token"]:
    """Return the attention rows of ``encode_rows``, rounded to levels; 0 after each token."""
    rows = np.zeros((*cells.shape[:-1], tokens, tokens), dtype=np.float32)
    query, key = np.tril_indices(tokens)
    rows[..., query, key] = (cells / np.float32(LEVELS)) ** 2
    return rows


def cell_count(tokens: int) -> int:
    """Return the number of cells in the rows of a text."""
    return tokens * (tokens + 1) // 2


@dataclass(frozen=True)
class AttentionText:
    """A text that both models read.

    problem: its name; empty if pairs have none. ids, pieces: its tokens, and the text each one adds, which is empty
        within a character of several.
    shared: number of first tokens that are equal in the pair's corrupt text.
    length: number of tokens of the entire text, of which the first ``len(ids)`` are included.
    """

    problem: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    shared: int
    length: int


@dataclass(frozen=True, eq=False)
class Attention(Result):
    """Attention of some heads of two models at every token of a few texts.

    variant, step: of the post-trained model.
    heads: the heads, the most interesting ones first. heads_are: a description of them.
    texts: clean texts of the comparison's pairs, if possible of different problems. chosen: how they were chosen.
    base, post: [head, cell], levels (``encode_rows``) of the texts one after another.

    Raises InputError if the numbers of tokens, pieces, heads and cells do not belong together.
    """

    kind: ClassVar[str] = "attention"
    schema: ClassVar[int] = 1
    rows: ClassVar[str] = "head text"
    derived: ClassVar[tuple[str, ...]] = ("moved",)

    variant: str
    step: int
    heads: tuple[HeadId, ...]
    heads_are: str
    texts: tuple[AttentionText, ...]
    chosen: str
    base: UInt8[np.ndarray, "_ _"]  # [head, cell]; checked with a sentence
    post: UInt8[np.ndarray, "_ _"]

    def __post_init__(self) -> None:
        needed = len(self.heads), sum(cell_count(len(text.ids)) for text in self.texts)
        if not (self.base.shape == self.post.shape == needed):
            shapes = f"{self.base.shape} and {self.post.shape}"
            raise InputError(f"attention has cells of {shapes}; its heads and texts need {needed}")
        for number, text in enumerate(self.texts):
            if len(text.pieces) != len(text.ids):
                counts = f"{len(text.ids)} tokens and {len(text.pieces)} pieces"
                raise InputError(f"text {number} of attention has {counts}; one piece per token is needed")

    def __repr__(self) -> str:
        names = " ".join(map(str, self.heads))
        return display.line(self, f"{self.variant} at step {self.step}", f"{len(self.texts)} texts", names)

    def _repr_html_(self) -> str:
        return display.table(repr(self), frames.records(self))

    @property
    def moved(self) -> "Float[np.ndarray, 'head text']":
        """Return the share of a head's attention that training moved to other tokens, the mean over a text's tokens.

        0 for the same rows, 1 for rows that share no token (the total variation distance).
        """
        shares = np.zeros((len(self.heads), len(self.texts)))
        for number in range(len(self.texts)):
            for place, head in enumerate(self.heads):
                base, post = self.weights(head, number)
                shares[place, number] = np.abs(post - base).sum(axis=-1).mean() / 2
        return shares

    def plot(self) -> "Figure":
        """Return the share of attention that training moved, by head and text."""
        title = f"Attention that training moved, {self.variant} at step {self.step}"
        names = [str(head) for head in self.heads], range(len(self.texts))
        return plots.grid(title, self.moved, "share moved to other tokens", names, ("head", "text"))

    def cells(self, text: int) -> slice:
        """Return the cells of a text, as a slice of ``base`` and ``post``."""
        sizes = [cell_count(len(read.ids)) for read in self.texts]
        return slice(sum(sizes[:text]), sum(sizes[: text + 1]))

    def weights(
        self, head: HeadId, text: int
    ) -> "tuple[Float[np.ndarray, 'token token'], Float[np.ndarray, 'token token']]":
        """Return the attention of a head in base and variant, ``[query, key]``."""
        place, tokens = self.heads.index(head), len(self.texts[text].ids)
        cells = self.cells(text)
        return decode_rows(self.base[place, cells], tokens), decode_rows(self.post[place, cells], tokens)

    def save(self, folder: str | Path) -> None:
        """Write ``attention.safetensors`` and ``attention.json`` into ``folder``, created if absent."""
        description = {
            "variant": self.variant,
            "step": self.step,
            "heads": [str(head) for head in self.heads],
            "heads_are": self.heads_are,
            "texts": [asdict(text) for text in self.texts],
            "chosen": self.chosen,
        }
        storage.save(folder, "attention", self.schema, {"base": self.base, "post": self.post}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "Attention":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        keys = ("variant", "step", "heads", "heads_are", "texts", "chosen")
        description, arrays = storage.load(folder, "attention", cls.schema, keys=keys, arrays=("base", "post"))
        texts: list[Json] = description["texts"]
        origin = f"attention.json in {folder}"
        return cls(
            variant=description["variant"],
            step=description["step"],
            heads=tuple(HeadId.parse(name) for name in description["heads"]),
            heads_are=description["heads_are"],
            texts=tuple(from_json(AttentionText, text, origin) for text in texts),
            chosen=description["chosen"],
            base=arrays["base"],
            post=arrays["post"],
        )
