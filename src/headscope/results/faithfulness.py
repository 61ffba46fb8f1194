"""Faithfulness: the share of a model's behaviour that is left when only a circuit is intact."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import display, storage
from headscope.errors import InputError
from headscope.pairs.problems import Labels, ProblemGroups, check_labels, problem_labels
from headscope.results import frames, plots
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARRAYS = ("full", "empty", "circuits", "fractions")

# Fractions of the real edges at which a faithfulness curve is read (method section 4): MIB's, but for the whole graph.
LADDER = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

# Weights of the pairs, from a bootstrap of their problems; None weighs all alike.
Weights = Float[np.ndarray, " pair"] | None


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """The metric of one circuit with every edge outside it patched, per pair.

    full: float32 [pair], the metric of the whole model on the clean text (0 for KL).
    empty: float32 [pair], the metric with every edge patched; if edges carry the corrupt text's writes, it is that of
        the whole model on the corrupt text.
    circuit: float32 [pair], the metric of the circuit.
    edges: number of edges in the circuit.
    settings: metric, patch, model, pairs digest: plain JSON values.

    Raises InputError if a metric is not a number.
    """

    full: Float[np.ndarray, " pair"]
    empty: Float[np.ndarray, " pair"]
    circuit: Float[np.ndarray, " pair"]
    edges: int
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_finite(full=self.full, empty=self.empty, circuit=self.circuit)

    def __repr__(self) -> str:
        carried = f"{self.normalised:.2f} carried by {self.edges:,} edges"
        return display.line(self, display.source(self.settings), f"{len(self.full)} pairs", carried)

    @property
    def normalised(self) -> float:
        """Return (m(C) − m(∅)) / (m(full) − m(∅)) of the means over pairs: 0 like the patched text, 1 like the clean.

        NaN if both have the same mean metric.
        """
        means = (np.atleast_1d(values.mean()) for values in (self.circuit, self.full, self.empty))
        return float(_ratio(*means)[0])


@dataclass(frozen=True, eq=False)
class FaithfulnessCurve(Result):
    """Faithfulness of circuits of several sizes, from the same scores on the same pairs.

    full, empty: as in ``Faithfulness``.
    circuits: float32 [size, pair], the metric of each circuit.
    fractions: float64 [size], share of the graph's edges asked for, ascending; edges: how many were left of it after
        pruning.
    settings: metric, patch, model, pairs digest and how the circuits were selected: plain JSON values.
    problems: the name of each pair's problem; None if every pair is its own problem.

    *Faithfulness* is f = (m(C) − m(∅)) / (m(full) − m(∅)), m being means over pairs. *CPR* and *CMD* are those of the
    MIB benchmark (Mueller et al., arXiv 2504.13151, and its ``evaluate_area_under_curve``): the trapezoid rule over the
    fractions on a linear scale, of f and of |1 − f|, from the smallest fraction to 1. At fraction 1, if it is
    not among the sizes, f = 1: the whole graph is the model. On MIB's sizes (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50 and
    100 %) these are MIB's numbers: of a perfect circuit 0.999 and 0, because nothing is added below the smallest size.
    MIB also counts edges before pruning; it rounds their number down, ``select`` to the nearest.

    Raises InputError if a metric is not a number or the fractions are not ascending within (0, 1].
    """

    kind: ClassVar[str] = "faithfulness curve"
    schema: ClassVar[int] = 1
    rows: ClassVar[Mapping[str, str]] = {"fraction": "fractions", "edges": "edges", "faithfulness": "of_means"}

    full: Float[np.ndarray, " pair"]
    empty: Float[np.ndarray, " pair"]
    circuits: Float[np.ndarray, "size pair"]
    fractions: Float[np.ndarray, " size"]
    edges: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    problems: Labels = None

    def __post_init__(self) -> None:
        _check_finite(full=self.full, empty=self.empty, circuit=self.circuits)
        check_labels(self.problems, len(self.full))
        ends = np.array([0.0, *self.fractions])
        if not len(self.fractions) or (np.diff(ends) <= 0).any() or ends[-1] > 1:
            raise InputError(f"found fractions {self.fractions.tolist()}; give ascending ones above 0 and up to 1")

    def __repr__(self) -> str:
        carried = zip(self.fractions, self.normalised(), strict=True)
        sizes = ", ".join(f"{value:.2f} at {fraction:.1%}" for fraction, value in carried)
        areas = f"CPR {self.cpr():.3f}, CMD {self.cmd():.3f}"
        return display.line(self, display.source(self.settings), str(self.problem_groups.size), sizes, areas)

    def _repr_html_(self) -> str:
        return display.table(repr(self), frames.records(self))

    @property
    def problem_groups(self) -> ProblemGroups:
        """Return the pairs grouped by problem, for resampling."""
        return ProblemGroups.of((self.problems, len(self.full)))

    def __len__(self) -> int:
        """Return the number of sizes."""
        return len(self.fractions)

    def __getitem__(self, size: int) -> Faithfulness:
        """Return the faithfulness of the circuit of one size."""
        settings = self.settings | {"fraction": float(self.fractions[size])}
        return Faithfulness(self.full, self.empty, self.circuits[size], self.edges[size], settings)

    def take(self, fractions: "tuple[float, ...] | list[float]") -> "FaithfulnessCurve":
        """Return the curve at some of its fractions. Raises InputError if it was not measured at one."""
        size_of = {float(fraction): size for size, fraction in enumerate(self.fractions)}
        if missing := [fraction for fraction in fractions if fraction not in size_of]:
            raise InputError(f"found no circuit of fraction {missing[0]}; measured were {sorted(size_of)}")
        sizes = sorted(size_of[fraction] for fraction in set(fractions))
        edges = tuple(self.edges[size] for size in sizes)
        return replace(self, circuits=self.circuits[sizes], fractions=self.fractions[sizes], edges=edges)

    def save(self, folder: str | Path) -> None:
        """Write ``curve.safetensors`` and ``curve.json`` into ``folder``, created if absent."""
        description: dict[str, Any] = {"edges": list(self.edges), "settings": self.settings}
        if self.problems is not None:
            description["problems"] = list(self.problems)
        storage.save(folder, "curve", self.schema, {name: getattr(self, name) for name in _ARRAYS}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "FaithfulnessCurve":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        description, arrays = storage.load(folder, "curve", cls.schema, keys=("edges", "settings"), arrays=_ARRAYS)
        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            edges=tuple(description["edges"]),
            settings=description["settings"],
            problems=problem_labels(description.get("problems")),  # None in files of earlier versions
        )

    def normalised(self, weights: Weights = None) -> Float[np.ndarray, " size"]:
        """Return f of each size, of the means over pairs; ``weights``, which add up to 1, weigh the pairs."""
        shares = np.full(len(self.full), 1 / len(self.full)) if weights is None else weights
        return _ratio(self.circuits @ shares, self.full @ shares, self.empty @ shares)

    @property
    def of_means(self) -> Float[np.ndarray, " size"]:
        """Return f of each size, of the means over all pairs."""
        return self.normalised()

    def plot(self) -> "Figure":
        """Return faithfulness over the size of the circuit, of the means over pairs.

        A curve has no intervals; ``FaithfulnessEstimates`` of a study has them.
        """
        title = f"Faithfulness, {self.problem_groups.size}: CPR {self.cpr():.3f}, CMD {self.cmd():.3f}"
        names = ("share of the edges", "faithfulness of the means over pairs")
        line = {"": self.of_means.tolist()}
        return plots.curve(title, self.fractions.tolist(), line, names, logarithmic=True)

    def cpr(self, weights: Weights = None) -> float:
        """Return MIB's CPR of the means over pairs: higher is better."""
        return float(self._area(self.normalised(weights)))

    def cmd(self, weights: Weights = None) -> float:
        """Return MIB's CMD of the means over pairs: lower is better, 0 for a curve that is 1 everywhere."""
        return float(self._area(self.normalised(weights), from_one=True))

    @property
    def pair_normalised(self) -> Float[np.ndarray, "size pair"]:
        """Return f of each pair; NaN if clean and patched text have the same metric."""
        return _ratio(self.circuits, self.full, self.empty)

    @property
    def pair_cpr(self) -> Float[np.ndarray, " pair"]:
        """Return the CPR of each pair's own curve."""
        return self._area(self.pair_normalised)

    @property
    def pair_cmd(self) -> Float[np.ndarray, " pair"]:
        """Return the CMD of each pair's own curve."""
        return self._area(self.pair_normalised, from_one=True)

    def _area(self, curve: Float[np.ndarray, "size *pair"], from_one: bool = False) -> Float[np.ndarray, "*pair"]:
        sizes = np.asarray(self.fractions, dtype=np.float64)
        if sizes[-1] < 1:
            sizes = np.append(sizes, 1.0)
            curve = np.concatenate([curve, np.where(np.isnan(curve[:1]), np.nan, 1.0)])
        return np.asarray(np.trapezoid(np.abs(1 - curve) if from_one else curve, sizes, axis=0))


def _ratio(circuits: Any, full: Any, empty: Any) -> Float[np.ndarray, "size *pair"]:
    """Return (circuits − empty) / (full − empty) in float64, NaN if the last two are the same."""
    span = np.asarray(full, dtype=np.float64) - empty
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: np.ndarray = np.where(span == 0, np.nan, (circuits - empty) / span + 0.0)  # never −0
    return ratio


def _check_finite(**metrics: np.ndarray) -> None:
    for name, values in metrics.items():
        if not np.isfinite(values).all():
            pair = int(np.argwhere(~np.isfinite(values))[0, -1])
            raise InputError(f"the metric {name!r} of pair {pair} is not finite; check the model's weights and dtype")


@dataclass(frozen=True, eq=False)
class FaithfulnessEstimates(JsonResult):
    """A faithfulness curve of means over pairs with intervals over problems; the curve per pair is kept next to it.

    metric: the normalised metric.
    fractions: share of the graph's edges asked for, ascending.
    edges: how many edges each circuit has after pruning.
    normalised: faithfulness at each fraction, 0 like the corrupt text, 1 like the whole model.
    cpr, cmd: MIB's areas over the study's sizes.
    """

    kind: ClassVar[str] = "faithfulness"
    file: ClassVar[str] = "faithfulness.json"
    rows: ClassVar[Mapping[str, str]] = {"fraction": "fractions", "edges": "edges", "faithfulness": "normalised"}

    metric: str
    fractions: tuple[float, ...]
    edges: tuple[int, ...]
    normalised: tuple[Estimate, ...]
    cpr: Estimate
    cmd: Estimate

    def at(self, fraction: float) -> Estimate | None:
        """Return the faithfulness at one fraction; None if it was not measured there."""
        return dict(zip(self.fractions, self.normalised, strict=True)).get(fraction)

    def plot(self) -> "Figure":
        """Return faithfulness over the size of the circuit."""
        line = {"": self.normalised}
        names = ("share of the edges", "faithfulness")
        return plots.curve(f"Faithfulness ({self.metric})", self.fractions, line, names, logarithmic=True)
