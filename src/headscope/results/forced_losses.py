"""Losses of a model's own correct answers, teacher-forced with and without a head set and its controls."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from headscope import storage
from headscope.storage import Result


@dataclass(frozen=True, eq=False)
class ForcedLosses(Result):
    """Nats per response token under one operator; edits come in the order whole model, set, controls, matched.

    nll: of every edit on every text. accuracy: share of tokens the model would have written itself.
    controls: number of sets with as many heads in every layer; matched: of sets of like importance.
    problems: asked; one text is forced of each that was answered correctly.
    base_nll: of the base model, whole and without the set, on the texts it can read (``base_read``; None: all).
    doses: factors α; dose_nll: of the set scaled by each.
    direct_nll: with only the set's direct effect removed.
    guard_nll: of the whole model and without the set, on the guard task's texts.
    The last four are None if they were not asked for.
    """

    kind: ClassVar[str] = "forced"
    schema: ClassVar[int] = 1

    nll: Float[np.ndarray, "edit text"]
    accuracy: Float[np.ndarray, "edit text"]
    controls: int
    matched: int
    problems: int
    doses: tuple[float, ...] = ()
    base_nll: Float[np.ndarray, "two base_text"] | None = None
    base_accuracy: Float[np.ndarray, "two base_text"] | None = None
    base_read: Int[np.ndarray, " base_text"] | None = None
    dose_nll: Float[np.ndarray, "dose text"] | None = None
    direct_nll: Float[np.ndarray, " text"] | None = None
    guard_nll: Float[np.ndarray, "two guard_text"] | None = None

    @property
    def texts(self) -> int:
        """Texts forced."""
        return int(self.nll.shape[1])

    @property
    def control_nll(self) -> Float[np.ndarray, "control text"]:
        """Losses without each layer-matched set."""
        return self.nll[2 : 2 + self.controls]

    @property
    def matched_nll(self) -> Float[np.ndarray, "matched text"]:
        """Losses without each set of like importance."""
        return self.nll[2 + self.controls :]

    def save(self, folder: Path | str) -> None:
        """Write ``losses.safetensors`` and ``losses.json`` into ``folder``, which is made if absent."""
        arrays = {name: getattr(self, name) for name in ("nll", "accuracy", *_OPTIONAL)}
        present = {name: array for name, array in arrays.items() if array is not None}
        counts = {name: getattr(self, name) for name in ("controls", "matched", "problems")}
        storage.save(folder, "losses", self.schema, present, counts | {"doses": list(self.doses)})

    @classmethod
    def load(cls, folder: Path | str) -> "ForcedLosses":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        keys, names = ("controls", "matched", "problems", "doses"), ("nll", "accuracy")
        counts, arrays = storage.load(folder, "losses", cls.schema, keys=keys, arrays=names)
        optional = {name: arrays.get(name) for name in _OPTIONAL}
        return cls(
            nll=arrays["nll"],
            accuracy=arrays["accuracy"],
            controls=counts["controls"],
            matched=counts["matched"],
            problems=counts["problems"],
            doses=tuple(counts["doses"]),
            **optional,
        )


_OPTIONAL = ("base_nll", "base_accuracy", "base_read", "dose_nll", "direct_nll", "guard_nll")
