"""Losses of a model's own correct answers, teacher-forced with and without a head set and its controls."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int

from headscope import display, storage
from headscope.results import frames, plots
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class ForcedLosses(Result):
    """Nats per response token under one operator; edits come in the order whole model, set, controls, matched.

    nll: of every edit on every text. accuracy: share of tokens the model would have written itself.
    controls: number of sets with as many heads in every layer; matched: of sets of like importance.
    controls_available, matched_available: numbers of existing sets; some were not measured because the
        rank was settled (``measures.permutation``).
    problems: number asked; one text of each correctly answered one is forced.
    base_nll: of the base model, whole and without the set, on the texts it can read (``base_read``; None: all); under
        ``revert``, whole and with the set's weights grafted into it.
    doses: factors α; dose_nll: of the set scaled by each.
    direct_nll: with only the set's direct effect removed.
    guard_nll: of the whole model and without the set, on the guard task's texts.
    The last four are None if they were not measured.
    """

    kind: ClassVar[str] = "forced"
    schema: ClassVar[int] = 2
    rows: ClassVar[str] = "edit"
    derived: ClassVar[tuple[str, ...]] = ("mean_nll", "mean_accuracy")

    nll: Float[np.ndarray, "edit text"]
    accuracy: Float[np.ndarray, "edit text"]
    controls: int
    matched: int
    controls_available: int
    matched_available: int
    problems: int
    doses: tuple[float, ...] = ()
    base_nll: Float[np.ndarray, "two base_text"] | None = None
    base_accuracy: Float[np.ndarray, "two base_text"] | None = None
    base_read: Int[np.ndarray, " base_text"] | None = None
    dose_nll: Float[np.ndarray, "dose text"] | None = None
    direct_nll: Float[np.ndarray, " text"] | None = None
    guard_nll: Float[np.ndarray, "two guard_text"] | None = None

    def __repr__(self) -> str:
        sets = f"{self.controls} random sets, {self.matched} of like importance"
        return display.line(self, f"{self.texts} texts of {self.problems} problems", sets)

    def _repr_html_(self) -> str:
        return display.table(repr(self), frames.records(self))

    @property
    def edits(self) -> tuple[str, ...]:
        """Return the names of the edits: ``whole model``, ``heads``, ``control 0`` …, ``importance control 0`` …"""
        controls = [f"control {number}" for number in range(self.controls)]
        matched = [f"importance control {number}" for number in range(self.matched)]
        return ("whole model", "heads", *controls, *matched)

    @property
    def mean_nll(self) -> Float[np.ndarray, " edit"]:
        """Return the mean loss over texts, nats per response token."""
        mean: np.ndarray = self.nll.mean(axis=1)
        return mean

    @property
    def mean_accuracy(self) -> Float[np.ndarray, " edit"]:
        """Return the mean accuracy over texts."""
        mean: np.ndarray = self.accuracy.mean(axis=1)
        return mean

    def plot(self) -> "Figure":
        """Return the rise of the mean loss without the heads, next to that without each layer-matched set.

        Losses have no intervals; the ``Evidence`` that a study makes of them has.
        """
        rise = self.mean_nll - self.mean_nll[0]
        title = f"Without the heads, mean over {self.texts} texts"
        return plots.against_controls(title, float(rise[1]), rise[2 : 2 + self.controls], "nats per token")

    @property
    def texts(self) -> int:
        """Return the number of forced texts."""
        return int(self.nll.shape[1])

    @property
    def control_nll(self) -> Float[np.ndarray, "control text"]:
        """Return the losses without each layer-matched set."""
        return self.nll[2 : 2 + self.controls]

    @property
    def matched_nll(self) -> Float[np.ndarray, "matched text"]:
        """Return the losses without each set of like importance."""
        return self.nll[2 + self.controls :]

    def save(self, folder: Path | str) -> None:
        """Write ``losses.safetensors`` and ``losses.json`` into ``folder``, created if absent."""
        arrays = {name: getattr(self, name) for name in ("nll", "accuracy", *_OPTIONAL)}
        kept_arrays = {name: array for name, array in arrays.items() if array is not None}
        counts = {name: getattr(self, name) for name in (*_COUNTS, *_AVAILABLE)}
        storage.save(folder, "losses", self.schema, kept_arrays, counts | {"doses": list(self.doses)})

    @classmethod
    def load(cls, folder: Path | str) -> "ForcedLosses":
        """Read what ``save`` wrote; in version 1 all existing sets were measured.

        Raises InputError if it is absent, damaged or made by a newer schema.
        """
        names = ("nll", "accuracy")
        counts, arrays = storage.load(folder, "losses", cls.schema, keys=(*_COUNTS, "doses"), arrays=names)
        optional = {name: arrays.get(name) for name in _OPTIONAL}
        return cls(
            nll=arrays["nll"],
            accuracy=arrays["accuracy"],
            controls=counts["controls"],
            matched=counts["matched"],
            controls_available=counts.get("controls_available", counts["controls"]),
            matched_available=counts.get("matched_available", counts["matched"]),
            problems=counts["problems"],
            doses=tuple(counts["doses"]),
            **optional,
        )


_COUNTS, _AVAILABLE = ("controls", "matched", "problems"), ("controls_available", "matched_available")
_OPTIONAL = ("base_nll", "base_accuracy", "base_read", "dose_nll", "direct_nll", "guard_nll")
