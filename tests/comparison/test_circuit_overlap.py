"""FinalCircuits circuits side by side: sizes of equal faithfulness, one row per pair of variants and size."""

import numpy as np
import pytest

from headscope.comparison import Resampling, fraction_reaching
from headscope.comparison.circuit_overlap import FinalCircuits, circuit_overlaps, final_circuits
from headscope.heads import HeadSet
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.graph import Graph
from headscope.results.overlap import RelativeChanges

IMPORTANCE = np.array([[0.4, 0.3, 0.2], [0.06, 0.03, 0.01]])


def variant(name: str, small: str, large: str, share: float, importance: np.ndarray = IMPORTANCE) -> FinalCircuits:
    """Core heads ``small`` at 5 % of the edges, and ``large`` at ``share`` of them."""
    core = {"fraction": (HeadSet.of(small.split()), 0.05), "faithfulness": (HeadSet.of(large.split()), share)}
    return FinalCircuits(name, core, importance)


def test_each_pair_is_held_side_by_side_at_both_sizes() -> None:
    sft = variant("sft", "L0H0 L0H1", "L0H0 L0H1 L1H0", 0.2)
    grpo = variant("grpo", "L0H0 L0H2", "L0H0", 0.02, IMPORTANCE[::-1, ::-1])
    small, large = circuit_overlaps([sft, grpo])
    assert (small.equal, small.fractions, small.overlap.shared) == ("fraction", (0.05, 0.05), 1)
    assert small.overlap.jaccard == pytest.approx(1 / 3)
    assert (large.equal, large.fractions, large.overlap.shared) == ("faithfulness", (0.2, 0.02), 1)
    assert large.ranks.value == small.ranks.value == pytest.approx(-1)
    assert len(circuit_overlaps([sft, grpo, sft])) == 3 * 2
    assert circuit_overlaps([sft]) == ()


def test_a_circuit_as_faithful_is_larger_where_the_curve_rises_late(noisy) -> None:
    clean, corrupt = np.zeros(4, dtype=np.float32), np.ones(4, dtype=np.float32)
    circuits = np.stack([np.float32(1 - value) * corrupt for value in (0.2, 0.9)])
    curve = FaithfulnessCurve(clean, corrupt, circuits, np.array([0.1, 0.6]), (1, 2))
    final = final_circuits("sft", noisy(Graph(2, 3), 0, 1), curve, Resampling(0.1, 20))
    (few, small), (many, large) = final.core["fraction"], final.core["faithfulness"]
    assert (small, large) == (0.1, pytest.approx(fraction_reaching(curve, 0.8)))
    assert large > 0.4
    assert len(few) < len(many)
    assert final.importance.sum() == pytest.approx(1)


def test_relative_changes_are_saved_and_read() -> None:
    overlaps = circuit_overlaps([variant("sft", "L0H0", "L0H0", 0.1), variant("grpo", "L0H0", "L1H0", 0.2)])
    changes = RelativeChanges({"sft": np.array([[[0.5]], [[-1.0]]])}, overlaps, 0.8)
    loaded = RelativeChanges.from_dict(changes.as_dict())
    assert loaded.likeness == overlaps
    assert np.array_equal(loaded.effects["sft"], changes.effects["sft"])
    first_version = {"sft": {"checkpoints": [[[0.5]], [[-1.0]]], "mean": [[-0.25]]}}
    old = RelativeChanges.from_dict(changes.as_dict() | {"schema_version": 1, "effects": first_version})
    assert np.array_equal(old.effects["sft"], changes.effects["sft"])
