"""Head scores: the effect of replacing each head's output, measured by patching."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import storage
from headscope.errors import InputError
from headscope.heads import HeadId, top_heads
from headscope.results import display
from headscope.storage import Result


@dataclass(frozen=True, eq=False)
class HeadScores(Result):
    """The change of a metric when a head's whole output is replaced, everything after it recomputed.

    pair_heads: float32 [pair, layer, head]; positive if replacing the head raises the metric (the loss).
    seconds: wall time of the measurement.
    settings: method, metric, model name and commit, pairs digest: plain JSON values.

    Raises InputError if a score is not a number, naming the first layer it is found in.
    """

    kind: ClassVar[str] = "head_scores"
    schema: ClassVar[int] = 1

    pair_heads: Float[np.ndarray, "pair layer head"]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (finite := np.isfinite(self.pair_heads).all(axis=(0, 2))).all():
            layer = int(np.flatnonzero(~finite)[0])
            raise InputError(f"head scores are not finite, first in layer {layer}; check weights and dtype there")

    @property
    def mean(self) -> Float[np.ndarray, "layer head"]:
        """Mean over pairs, signed."""
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
        """Write ``heads.safetensors`` and ``heads.json`` into ``folder``, which is made if absent."""
        description = {"seconds": self.seconds, "settings": self.settings}
        storage.save(folder, "heads", self.schema, {"pair_heads": self.pair_heads}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "HeadScores":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        keys, names = ("seconds", "settings"), ("pair_heads",)
        description, arrays = storage.load(folder, "heads", cls.schema, keys=keys, arrays=names)
        return cls(arrays["pair_heads"], description["seconds"], description["settings"])
