"""Head scores: the effect of replacing each head's output, measured by patching."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import display, storage
from headscope.errors import InputError
from headscope.heads import HeadId, top_heads
from headscope.pairs.problems import Labels, ProblemGroups, check_labels, problem_labels
from headscope.results import plots
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class HeadScores(Result):
    """The change of a metric when a head's whole output is replaced, everything after it recomputed.

    pair_heads: float32 [pair, layer, head]; positive if replacing the head raises the metric (the loss).
    seconds: wall time of the measurement; NaN in a run directory, where the unit's record keeps it.
    settings: method, metric, model name and commit, pairs digest: plain JSON values.
    problems: the problem of each pair; None if every pair is its own problem.

    Raises InputError if a score is not a number, naming the first layer it is found in.
    """

    kind: ClassVar[str] = "head_scores"
    schema: ClassVar[int] = 1
    rows: ClassVar[str] = "layer head"
    derived: ClassVar[tuple[str, ...]] = ("mean",)

    pair_heads: Float[np.ndarray, "pair layer head"]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    problems: Labels = None

    def __post_init__(self) -> None:
        if not (finite := np.isfinite(self.pair_heads).all(axis=(0, 2))).all():
            layer = int(np.flatnonzero(~finite)[0])
            raise InputError(f"head scores are not finite, first in layer {layer}; check weights and dtype there")
        check_labels(self.problems, len(self.pair_heads))

    @property
    def problem_groups(self) -> ProblemGroups:
        """Return the pairs grouped by problem, the independent unit."""
        return ProblemGroups.of((self.problems, len(self.pair_heads)))

    @property
    def corruption(self) -> float:
        """Return the mean rise of the loss if the whole text is the corrupt one; NaN if it was not recorded."""
        return float(self.settings.get("loss_corrupt", np.nan)) - float(self.settings.get("loss_clean", np.nan))

    @property
    def mean(self) -> Float[np.ndarray, "layer head"]:
        """Return the mean over pairs, signed."""
        mean: Float[np.ndarray, "layer head"] = self.pair_heads.mean(axis=0)
        return mean

    def top_heads(self, count: int = 8) -> list[HeadId]:
        """Return the ``count`` heads of largest mean effect, up or down, largest first."""
        return top_heads(self.mean, count)

    def __repr__(self) -> str:
        pairs, layers, heads = self.pair_heads.shape
        metric = ", ".join(str(self.settings[name]) for name in ("method", "metric") if name in self.settings)
        most = f"most by {' '.join(map(str, self.top_heads()))}"
        return display.line(
            self, display.source(self.settings), f"{layers} × {heads} heads", f"{pairs} pairs", metric, most
        )

    def _repr_html_(self) -> str:
        return display.head_map(f"{self!r}; blue where replacing the head raises the loss", self.mean)

    def save(self, folder: str | Path) -> None:
        """Write ``heads.safetensors`` and ``heads.json`` into ``folder``, created if absent."""
        description: dict[str, Any] = {
            "seconds": None if math.isnan(self.seconds) else self.seconds,
            "settings": self.settings,
        }
        if self.problems is not None:
            description["problems"] = list(self.problems)
        storage.save(folder, "heads", self.schema, {"pair_heads": self.pair_heads}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "HeadScores":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        keys, names = ("seconds", "settings"), ("pair_heads",)
        description, arrays = storage.load(folder, "heads", cls.schema, keys=keys, arrays=names)
        problems = problem_labels(description.get("problems"))  # None in files of earlier versions
        seconds = math.nan if description["seconds"] is None else description["seconds"]
        return cls(arrays["pair_heads"], seconds, description["settings"], problems)

    def plot(self) -> "Figure":
        """Return every head's mean effect."""
        return plots.head_grid(f"Exact effects, {self.problem_groups.size}", self.mean, "rise of the loss")
