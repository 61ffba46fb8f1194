"""Cross-model patching: the effect of one model's head output in another model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import display, storage
from headscope.errors import InputError
from headscope.pairs.problems import Labels, ProblemGroups, check_labels, problem_labels
from headscope.results import plots
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class CrossPatch(Result):
    """The part of the difference between two models that each head carries, on the same texts.

    gap: float32 [pair], KL(source ‖ into) in nats, the mean over the evaluated positions.
    closed: float32 [pair, layer, head], ``gap`` less the gap when ``into`` runs with that head's output from
        ``source``, in nats: positive if the head carries the source's behaviour, ``gap`` if it carries all of it.
    seconds: wall time. settings: the models' names and commits, pairs digest: plain JSON values.
    problems: the name of each pair's problem; None if every pair is its own problem.

    Raises InputError if a number is not finite, naming the first layer it is found in.
    """

    kind: ClassVar[str] = "cross_patch"
    schema: ClassVar[int] = 1

    gap: Float[np.ndarray, " pair"]
    closed: Float[np.ndarray, "pair layer head"]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    problems: Labels = None

    def __post_init__(self) -> None:
        check_labels(self.problems, len(self.closed))
        if not (finite := np.isfinite(self.closed).all(axis=(0, 2))).all():
            layer = int(np.flatnonzero(~finite)[0])
            raise InputError(f"patched distributions are not finite, first in layer {layer}; check weights and dtype")

    @property
    def share(self) -> Float[np.ndarray, "layer head"]:
        """Return mean ``closed`` / mean ``gap``; the shares of several heads do not add up. NaN without a gap."""
        gap = float(self.gap.mean(dtype=np.float64))
        closed: Float[np.ndarray, "layer head"] = self.closed.mean(axis=0, dtype=np.float64)
        return closed / gap if gap else np.full_like(closed, np.nan)

    def __repr__(self) -> str:
        _, layers, heads = self.closed.shape
        gap = f"a gap of {self.gap.mean():.3g} nats"
        size = ProblemGroups.of((self.problems, len(self.closed))).size
        return display.line(self, f"{layers} × {heads} heads", str(size), gap)

    def _repr_html_(self) -> str:
        return display.head_map(f"{self!r}; blue where the head closes it", self.share)

    def save(self, folder: str | Path) -> None:
        """Write ``cross_patch.safetensors`` and ``cross_patch.json`` into ``folder``, created if absent."""
        description: dict[str, Any] = {"seconds": self.seconds, "settings": self.settings}
        if self.problems is not None:
            description["problems"] = list(self.problems)
        storage.save(folder, "cross_patch", self.schema, {"gap": self.gap, "closed": self.closed}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "CrossPatch":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        description, arrays = storage.load(
            folder, "cross_patch", cls.schema, keys=("seconds", "settings"), arrays=("gap", "closed")
        )
        problems = problem_labels(description.get("problems"))  # None in files of earlier versions
        return cls(arrays["gap"], arrays["closed"], description["seconds"], description["settings"], problems)

    def plot(self) -> "Figure":
        """Return the share of the gap that each head closes."""
        return plots.head_grid("Cross-patching", self.share, "share of the gap closed")
