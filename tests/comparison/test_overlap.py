"""Overlap by enumeration, its laws, sizes of equal faithfulness, and think on/off."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.comparison import Resampling, fraction_reaching, overlap, rank_correlation, reasoning_leak, think_on_off
from headscope.comparison.thinking import _fraction
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.graph import Graph
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking

SETS = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=6)


def test_chance_is_the_mean_over_all_sets_of_the_size() -> None:
    first, second = HeadSet.of(["L0H0", "L0H1", "L1H0"]), HeadSet.of(["L0H1", "L1H0"])
    heads_overlap = overlap(first, second, 2, 3, by_layer=False)
    sets = [HeadSet.of(HeadId(i // 3, i % 3) for i in chosen) for chosen in combinations(range(6), 2)]
    jaccards = [len(first & drawn) / len(first | drawn) for drawn in sets]
    assert heads_overlap.jaccard == pytest.approx(2 / 3)
    assert heads_overlap.chance == pytest.approx(np.mean(jaccards))
    assert heads_overlap.p_value == pytest.approx(np.mean([j >= 2 / 3 - 1e-9 for j in jaccards]))


def test_within_layers_the_profile_explains_its_share() -> None:
    full = HeadSet.of(["L0H0", "L0H1"])
    heads_overlap = overlap(full, full, 2, 2)
    assert (heads_overlap.jaccard, heads_overlap.chance, heads_overlap.p_value) == (1, 1, 1)
    assert overlap(full, full, 2, 2, by_layer=False).p_value == pytest.approx(1 / 6)


@given(SETS, SETS)
@settings(max_examples=40)
def test_overlap_is_symmetric_and_its_chance_within_its_limits(
    first_heads: set[tuple[int, int]], second_heads: set[tuple[int, int]]
) -> None:
    first, second = HeadSet.of(first_heads), HeadSet.of(second_heads)
    there, back = overlap(first, second, 3, 4), overlap(second, first, 3, 4)
    assert (there.jaccard, there.shared) == (pytest.approx(back.jaccard, nan_ok=True), back.shared)
    assert there.chance == pytest.approx(back.chance, nan_ok=True)
    if first or second:
        assert there.chance_low <= there.chance + 1e-12
        assert there.chance <= there.chance_high + 1e-12
    if first:
        assert overlap(first, first, 3, 4).jaccard == 1


def test_rank_correlation_of_whole_score_vectors() -> None:
    scores = np.arange(6.0).reshape(2, 3)
    assert rank_correlation(scores, np.exp(scores)).value == pytest.approx(1)
    assert rank_correlation(scores, -scores).value == pytest.approx(-1)
    assert np.isnan(rank_correlation(scores, np.ones((2, 3))).value)
    with pytest.raises(InputError, match="one shape"):
        rank_correlation(scores[:1], scores[:1])


def curve(*values: float) -> FaithfulnessCurve:
    """Faithfulness ``values`` at 1, 10 and 100 % (less the last ones) of the edges."""
    corrupt = np.ones(4, dtype=np.float32)
    circuits = np.stack([np.float32(1 - value) * corrupt for value in values])
    fractions = np.array([0.01, 0.1, 1.0])[: len(values)]
    return FaithfulnessCurve(0 * corrupt, corrupt, circuits, fractions, tuple(range(len(values))))


def test_the_size_of_a_faithfulness_lies_between_the_measured_ones() -> None:
    assert fraction_reaching(curve(0.2, 0.6), 0.4) == pytest.approx(np.sqrt(0.01 * 0.1))
    assert fraction_reaching(curve(0.2, 0.6), 0.8) == pytest.approx(np.sqrt(0.1 * 1.0))
    assert fraction_reaching(curve(0.9, 0.95), 0.8) == 0.01
    for wrong in (0.0, 1.2):
        with pytest.raises(InputError, match="faithfulness"):
            fraction_reaching(curve(0.2), wrong)


def test_think_off_that_needs_more_heads_is_broader(routed_scores) -> None:
    graph = Graph(2, 3)
    on, off = routed_scores(graph, [["L0H0"]] * 6), routed_scores(graph, [["L0H0", "L1H1"]] * 6)
    thinking = think_on_off(on, off, curve(0.9), curve(0.2, 0.8), resampling=Resampling(1.0, 20))
    assert (str(thinking.change.new), str(thinking.change.lost)) == ("none", "L1H1")
    assert (thinking.on_fraction.value, thinking.off_fraction.value) == (0.01, pytest.approx(0.1))
    assert (thinking.off_fraction.low, thinking.off_fraction.high) == (pytest.approx(0.1), pytest.approx(0.1))
    broader = think_on_off(on, off, curve(0.2, 0.3, 1.0), curve(0.2, 0.3, 1.0), resampling=Resampling(1.0, 20)).broader
    assert (broader.value, broader.low, broader.high, broader.n) == (1, 1, 1, 6)
    assert Thinking.from_dict(thinking.as_dict()).as_dict() == thinking.as_dict()
    same = [routed_scores(graph, [["L0H0"]] * 6, pairs="aa") for _ in range(2)]
    with pytest.raises(InputError, match="think-on uses the same pairs as think-off"):
        think_on_off(*same, curve(0.9), curve(0.9), resampling=Resampling(1.0, 20))


def test_no_head_of_a_mode_is_active_below_tau(routed_scores) -> None:
    graph = Graph(2, 3)
    on, off = routed_scores(graph, [["L0H0"]] * 6), routed_scores(graph, [["L0H0", "L1H1"]] * 6)
    above_all = 2 * float(off.edges_abs.max())
    thinking = think_on_off(on, off, curve(0.9), curve(0.2, 0.8), resampling=Resampling(1.0, 20, tau=above_all))
    assert thinking.change.tau == above_all
    assert len(thinking.change.lost) == 0


def test_leak_is_what_think_off_spends_of_think_on() -> None:
    def samples(lengths: list[int], name: str) -> Samples:
        rows = [
            {"problem": f"p{i}", "group": "", "sample": 0, "seed": 0, "response": "", "tokens": n, "finish": "stop"}
            | {"verdict": "wrong", "answer": "", "gold": "", "kind": ""}
            for i, n in enumerate(lengths)
        ]
        return Samples.from_records(rows, model=name, task="t")

    leak = reasoning_leak(samples([100, 300, 200], "on"), samples([10, 30, 20], "off"))
    assert (leak.value, leak.low, leak.high) == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    with pytest.raises(InputError, match="the same are needed"):
        reasoning_leak(samples([1], "on"), samples([1, 2], "off"))


@pytest.mark.parametrize("seed", range(4))
def test_a_resample_of_pairs_whose_texts_are_alike_is_left_out(seed: int) -> None:
    full, empty = np.zeros(4, np.float32), np.array([1, 1.2, 0.8, 0], np.float32)
    circuits = np.stack([empty * share for share in (0.7, 0.3, 0.1)]).astype(np.float32)
    curve = FaithfulnessCurve(full, empty, circuits, np.array([0.01, 0.05, 0.2]), (1, 2, 3))
    estimate = _fraction(curve, 0.8, seed)
    assert 0.05 < estimate.low <= estimate.value <= estimate.high < 0.2
