"""Constants that replace what heads write, one vector per head."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import display, storage
from headscope.results import plots
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCENT_STEPS = 24
TEXTS_A_STEP = 2
"""Of ``interventions.fit_constants``, which finds optimal constants. Each text has a thread of its own on a CPU. Half
the steps at twice the rate do not cost more than one text a step would (log.md)."""

CANDIDATES = 3
"""Constants compared at the end of the descent: the fitted one, the mean and zero."""


@dataclass(frozen=True, eq=False)
class HeadConstants(Result):
    """values: float32 [layer, head, d_head], what each head's output is replaced by before its output projection."""

    kind: ClassVar[str] = "constants"
    schema: ClassVar[int] = 1
    rows: ClassVar[str] = "layer head"
    derived: ClassVar[tuple[str, ...]] = ("norm",)

    values: Float[np.ndarray, "layer head d_head"]

    def __repr__(self) -> str:
        layers, heads, size = self.values.shape
        return display.line(self, f"{layers} × {heads} heads", f"vectors of {size}")

    def _repr_html_(self) -> str:
        return display.head_map(f"{self!r}; shaded by their norm", self.norm)

    @property
    def norm(self) -> "Float[np.ndarray, 'layer head']":
        """Return the Euclidean norm of each head's vector."""
        norm: np.ndarray = np.linalg.norm(self.values, axis=-1)
        return norm

    def plot(self) -> "Figure":
        """Return the norm of each head's vector."""
        return plots.head_grid("Constants in place of what heads write", self.norm, "norm")

    def save(self, folder: Path | str) -> None:
        """Write ``constants.safetensors`` and ``constants.json`` into ``folder``, created if absent."""
        storage.save(folder, "constants", self.schema, {"constants": self.values}, {})

    @classmethod
    def load(cls, folder: Path | str) -> "HeadConstants":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        arrays = storage.load(folder, "constants", cls.schema, keys=[], arrays=["constants"])[1]
        return cls(arrays["constants"])
