"""Emergence: heads in one model's circuit that are not in another's, with a null for every count."""

import math
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int8

from headscope import display
from headscope.heads import HeadSet
from headscope.pairs.problems import SampleSize
from headscope.results import plots
from headscope.results.counts import Counts, EdgeChange, HeadEstimates, LayerProfile
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CORE = 0.9
"""A head in the pruned circuit in at least this share of the resamples of the problems is core (active)."""

CONTINGENT = 0.1
"""A head in fewer resamples than this is absent; between the two it is contingent (method section 4)."""


CROWDED = 0.05
"""Where no more than this share of the heads could be new, base's circuit is crowded."""


class Status(IntEnum):
    """Status of a head in post compared with base: the codes of ``Emergence.status``."""

    ABSENT = 0
    """absent in both"""
    KEPT = 1
    """core in both"""
    NEW = 2
    """core in post, not even contingent in base"""
    LOST = 3
    """core in base, not even contingent in post"""
    CONTINGENT = 4
    """contingent in at least one of the two: the pairs cannot say"""


@dataclass(frozen=True, eq=False)
class Emergence(JsonResult):
    """One model's heads (post) against another's (base) on the same pairs.

    base_frequency, post_frequency: share [layer, head] of bootstrap resamples in which the head is in the
        pruned circuit. Under the method ``paper`` 1 or 0: in the pruned circuit of the pooled scores, or not.
    counts: heads kept, new, lost, contingent, with intervals over problems.
    null: the same counts for base against itself (test-retest), the mean over random halves of all its problems,
        with the range that holds 95 % of them. It has no direction: new and lost are equal.
    excess: counts − the null's mean. new_p_value: share of the halves that show at least as many new heads.
    doubled: heads whose flow more than doubled (``comparison.doubled_heads``), over all edges.
    doubled_null: those of the base on fresh pairs; None without fresh pairs.
    importance_change: post − base of each head's share of all net score (method section 1 item 6, over all
        edges: free of any threshold); positive if post relies on the head more.
    pairs, problems: numbers of pairs of the observed counts and of their problems, which are resampled; None in
        results of earlier versions, which counted every pair as its own problem.
    null_pairs, null_problems: those of each half. null_source: what is halved, base's problems with ``fresh pairs``
        (base scored again) or alone (``halves``, each then with half as many), or ``none`` (numbers NaN).
    fraction: of real edges in a circuit. post_fraction: of the post-trained model's, if it differs (equal
        faithfulness). tau: the least |score| of an edge in a circuit.
    edges: edges kept, born and lost; None if no per-pair edges were kept.
    layers: the counts layer by layer.
    base_importance: each head's share of all net score in base.
    method: ``bootstrap`` (core heads) or ``paper`` (set difference of pooled circuits).
    core_from, contingent_from: the two thresholds on the frequencies.
    settings: those of the scores of both models.
    """

    kind: ClassVar[str] = "emergence"
    file: ClassVar[str] = "emergence.json"
    schema: ClassVar[int] = 2
    """2 adds edges, layers and base_importance, which are None in a result of version 1."""

    base_frequency: Float[np.ndarray, "layer head"]
    post_frequency: Float[np.ndarray, "layer head"]
    counts: Counts
    null: Counts
    excess: Counts
    importance_change: HeadEstimates
    pairs: int
    null_pairs: int
    null_source: str
    fraction: float
    resamples: int
    seed: int
    method: str = "bootstrap"
    core_from: float = CORE
    contingent_from: float = CONTINGENT
    settings: dict[str, Any] = field(default_factory=dict)
    edges: EdgeChange | None = None
    layers: LayerProfile | None = None
    base_importance: Float[np.ndarray, "layer head"] | None = None
    post_fraction: float | None = None
    tau: float = 0.0
    new_p_value: float = math.nan
    doubled: HeadSet = field(default_factory=lambda: HeadSet(()))
    doubled_null: HeadSet | None = None
    problems: int | None = None
    null_problems: int | None = None

    @property
    def size(self) -> SampleSize:
        """Sample size of the observed counts."""
        return SampleSize.of(self.problems, self.pairs)

    @property
    def null_size(self) -> SampleSize:
        """Sample size of each side of the null."""
        return SampleSize.of(self.null_problems, self.null_pairs)

    @cached_property
    def status(self) -> "Int8[np.ndarray, 'layer head']":
        """Return the ``Status`` codes [layer, head]: the emergence map."""
        return status_grid(
            self.base_frequency, self.post_frequency, core=self.core_from, contingent=self.contingent_from
        )

    def heads(self, status: Status) -> HeadSet:
        """Return the heads of one status."""
        return HeadSet.from_grid(self.status == status)

    @property
    def kept(self) -> HeadSet:
        """Return the heads that are core in both."""
        return self.heads(Status.KEPT)

    @property
    def new(self) -> HeadSet:
        """Return the emergent heads: core in post and not even contingent in base."""
        return self.heads(Status.NEW)

    @property
    def lost(self) -> HeadSet:
        """Return the heads that are core in base and not even contingent in post."""
        return self.heads(Status.LOST)

    @property
    def contingent(self) -> HeadSet:
        """Return the heads that are contingent in at least one of the two."""
        return self.heads(Status.CONTINGENT)

    @property
    def base_active(self) -> "Bool[np.ndarray, 'layer head']":
        """Return the core heads of base."""
        return self.base_frequency >= self.core_from

    @property
    def room(self) -> int:
        """Return the heads that could be new: absent in base."""
        return int((self.base_frequency < self.contingent_from).sum())

    @property
    def crowded(self) -> bool:
        """Return whether the base's circuit holds nearly all heads, so that few could be new."""
        return self.room <= CROWDED * self.status.size

    def __repr__(self) -> str:
        names = ", ".join(f"{self.heads(s)} {s.name.lower()}" for s in (Status.NEW, Status.LOST) if self.heads(s))
        counts = f"{len(self.kept)} kept / {len(self.new)} new / {len(self.lost)} lost heads"
        null = f"new above null {self.excess.new} ({self.null_source})"
        return display.line(self, counts, null, str(self.size), f"circuits of {self.fraction:.1%}", names)

    def _repr_html_(self) -> str:
        change = self.importance_change.value
        return display.head_map(f"{self!r}; blue where post relies on the head more, orange where less", change)

    def json_notes(self) -> dict[str, dict[str, list[str]]]:
        """Return the head sets by name, written to the file for readers and ignored on loading."""
        names = {status.name.lower(): self.heads(status).names() for status in Status if status is not Status.ABSENT}
        return {"heads": names}

    def plot(self) -> "Figure":
        """Return the change of every head's importance."""
        title = f"Change of importance, {self.size}: {len(self.new)} new, {len(self.lost)} lost heads"
        return plots.head_grid(title, self.importance_change.value, "post − base")


def status_grid(
    base: "Float[np.ndarray, '*grid']",
    post: "Float[np.ndarray, '*grid']",
    *,
    core: float = CORE,
    contingent: float = CONTINGENT,
) -> "Int8[np.ndarray, '*grid']":
    """Return ``Status`` codes of two inclusion frequencies: core from ``core`` on, absent below ``contingent``."""
    status = np.full(base.shape, Status.CONTINGENT, dtype=np.int8)
    status[(base < contingent) & (post < contingent)] = Status.ABSENT
    status[(base >= core) & (post >= core)] = Status.KEPT
    status[(base < contingent) & (post >= core)] = Status.NEW
    status[(base >= core) & (post < contingent)] = Status.LOST
    return status
