"""One result of every class that is saved, for tests that go over all of them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tests.report.head_runs import attention, head_roles
from tests.report.runs import (
    RunWriter,
    comparison,
    estimate,
    faithfulness,
    head_revert,
    head_scaling,
    measures,
    pairs,
    read,
    series,
    t1_answers,
    training_effects,
    verdict,
)
from tests.report.test_tables import add_evidence, add_failures, crossed

from headscope.heads import HeadId, HeadSet
from headscope.pairs import Pairs
from headscope.results.attention import Attention
from headscope.results.circuit import Circuit
from headscope.results.claim import FAILS, HOLDS, Claim, Claims, Part
from headscope.results.comparison import Comparison
from headscope.results.coupling import Coupling
from headscope.results.cross_patch import CrossPatch
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.evidence import Evidence
from headscope.results.failures import FailureChanges
from headscope.results.faithfulness import FaithfulnessCurve, FaithfulnessEstimates
from headscope.results.forced_losses import ForcedLosses
from headscope.results.frames import result_classes
from headscope.results.graph import Graph
from headscope.results.head_constants import HeadConstants
from headscope.results.head_revert import HeadRevert
from headscope.results.head_roles import HeadRoles
from headscope.results.head_scaling import HeadScaling
from headscope.results.head_scores import HeadScores
from headscope.results.head_sets import ControlledHeads
from headscope.results.measures import Measures
from headscope.results.not_run import NotRun
from headscope.results.overlap import CircuitOverlap, Overlap, RelativeChanges
from headscope.results.reward_coupling import RewardCoupling
from headscope.results.role_losses import RoleLosses
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.traces import Traces, TraceSummary
from headscope.results.training_effects import PooledEffects, TrainingEffects
from headscope.results.transitions import Transitions
from headscope.results.verdict import AblationVerdict
from headscope.storage import Result
from headscope.traces.summary import summarise
from headscope.traces.transitions import compare_answers


def edge_scores() -> EdgeScores:
    """Return scores of 0.1 of every edge."""
    graph = Graph(2, 3)
    edges = np.where(graph.real, 0.1, 0).astype(np.float32)
    return EdgeScores(graph, edges, np.abs(edges), np.ones((4, 2, 3), np.float32), None, 0.01, 1.0)


def coupling() -> Coupling:
    """Return a correlation at lags from −1 to 1."""
    lags = np.arange(-1, 2)
    return Coupling(lags, lags / 4, lags / 4 - 0.2, lags / 4 + 0.2, np.full(3, 0.5), np.full(3, 12), 0.4, 2, 100, 0)


def claims() -> Claims:
    """Return a claim with a part that holds and one that fails, and one without parts."""
    holds = Part("sft", "new heads above the null", estimate(5.0, 1.0), ">", 0.0, None, HOLDS, "5 are above 0")
    fails = Part("grpo", "new heads above the null", estimate(-1.0, 0.5), ">", 0.0, None, FAILS, "−1 is below 0")
    judged = Claim("C1", "Do heads emerge?", "not supported", "−1 is below 0", (holds, fails))
    return Claims((judged, Claim("C2", "Do they matter?", "undecided", "nothing was removed", ())))


def curve() -> FaithfulnessCurve:
    """Return the curve of two pairs, of which circuits of 1 % and 10 % carry 0.25 and 0.75."""
    fractions, circuits = np.array([0.01, 0.1]), np.array([[0.5, 0.0], [1.0, 0.5]], np.float32)
    return FaithfulnessCurve(np.ones(2, np.float32), np.zeros(2, np.float32), circuits, fractions, (5, 50))


def forced_losses() -> ForcedLosses:
    """Return losses of two texts: 0.1 of the whole model, 0.6 without the heads, 0.2 without each of three sets."""
    nll = np.repeat(np.array([[0.1], [0.6], [0.2], [0.2], [0.2]]), 2, axis=1)
    return ForcedLosses(nll, np.full((5, 2), 0.9), 2, 1, 2, 1, 3)


def controlled_heads() -> ControlledHeads:
    """Return one head with two random sets and one of like importance."""
    head, first, second = [HeadSet.of([name]) for name in ("L1H2", "L1H0", "L1H1")]
    return ControlledHeads(head, (first, second), (second,), (2, 3))


def transitions() -> Transitions:
    """Return what SFT changed in the answers to T1."""
    before, after = t1_answers("base"), t1_answers("sft")
    return compare_answers(before, after, read(before), read(after))


def thinking() -> Thinking:
    """Return think-on against think-off."""
    return Thinking(series(3, births=4)[-1], 0.8, estimate(0.05, 0.01), estimate(0.08, 0.01), estimate(3.0, 1.0))


def relative_changes() -> RelativeChanges:
    """Return changes of 0.5 of one variant, and its circuit's overlap with another's."""
    overlap = Overlap(0.5, 0.25, 0.1, 0.4, 0.004, 2, 3, 3, by_layer=True)
    likeness = CircuitOverlap("sft", "grpo", "faithfulness", (0.05, 0.1), overlap, estimate(0.9, 0.05))
    return RelativeChanges({"sft": np.full((1, 2, 3), 0.5)}, (likeness,), 0.8)


def written(kind: type[Result], add: Callable[[RunWriter], None]) -> Any:
    """Return the first result of a kind among those that ``add`` writes."""
    with TemporaryDirectory() as folder:
        run = RunWriter(Path(folder))
        add(run)
        return run.close().results(kind)[0].whole


CLASSES = sorted(
    (kind for kind in result_classes() if kind.__module__.startswith(("headscope.results", "headscope.pairs"))),
    key=lambda kind: kind.__name__,
)
"""All classes of results: none of a test, and no training, whose frame is its log."""

EXAMPLES: dict[type[Result], Callable[[], Any]] = {
    AblationVerdict: lambda: verdict(-0.1, "supported"),
    Attention: lambda: attention("sft", [HeadId(0, 1), HeadId(1, 2)], [("a", "b", "c", "d"), ("e", "f", "g")]),
    Circuit: lambda: Circuit(edge_scores().graph, edge_scores().edges > 0),
    Claims: claims,
    Comparison: lambda: comparison("sft", series(3, births=4)),
    ControlledHeads: controlled_heads,
    CrossPatch: lambda: CrossPatch(np.ones(4, np.float32), np.full((4, 2, 3), 0.3, np.float32), 0.0),
    Crossed: crossed,
    EdgeScores: edge_scores,
    Emergence: lambda: series(3, births=4)[-1],
    Evidence: lambda: written(Evidence, add_evidence),
    FailureChanges: lambda: written(FailureChanges, add_failures),
    FaithfulnessCurve: curve,
    FaithfulnessEstimates: lambda: faithfulness(0.9),
    ForcedLosses: forced_losses,
    HeadConstants: lambda: HeadConstants(np.ones((2, 3, 4), np.float32)),
    HeadRevert: head_revert,
    HeadRoles: lambda: head_roles("sft"),
    HeadScaling: head_scaling,
    HeadScores: lambda: HeadScores(np.ones((4, 2, 3), np.float32), 0.0),
    Measures: lambda: measures(0.5, is_base=False),
    NotRun: lambda: NotRun("no head is emergent"),
    Pairs: lambda: pairs(8),
    PooledEffects: lambda: PooledEffects("sft", ("sft", "sft.2"), training_effects("sft", 0.8).training, {}, 0.05),
    RelativeChanges: relative_changes,
    RewardCoupling: lambda: RewardCoupling("grpo", {"grpo": coupling()}, coupling(), {}),
    RoleLosses: lambda: written(RoleLosses, add_failures),
    Samples: lambda: t1_answers("sft"),
    Thinking: thinking,
    TraceSummary: lambda: summarise(read(t1_answers("sft"))),
    Traces: lambda: read(t1_answers("sft")),
    TrainingEffects: lambda: training_effects("sft", 0.8),
    Transitions: transitions,
}
