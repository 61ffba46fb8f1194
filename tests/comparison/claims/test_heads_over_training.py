"""C3 to C5: the reward that heads follow, the heads that stay, and the depth of the new ones."""

from dataclasses import replace

import numpy as np
from tests.comparison.claims.builders import LATE, read_claim

from headscope.comparison import head_dynamics
from headscope.comparison.claims import Run, StudyResults
from headscope.comparison.claims.c05_depth import _depth_difference
from headscope.results.dynamics import RewardCount
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def rewarded(run, mass: np.ndarray, reward: np.ndarray, steps: int = 40) -> Run:
    """A run without a single new head in which ``mass`` of importance has moved to head L0H0."""
    plain = run("grpo", "grpo", [set()] * steps)
    series = []
    for (step, comparison), moved in zip(plain.series, mass, strict=True):
        value = np.zeros((5, 8))
        value[0, :2] = moved, -moved
        change = replace(comparison.importance_change, value=value)
        series.append((step, replace(comparison, importance_change=change)))
    rows = tuple(RewardCount(step, float(x), 0.0, 1, 8, 0, 0) for (step, _), x in zip(series, reward, strict=True))
    return replace(plain, series=tuple(series), rewards=rows)


def test_c3_follows_the_mass_that_moved_where_no_head_is_new(run) -> None:
    reward = np.cumsum(np.random.default_rng(0).normal(size=40))
    mass = 0.5 + reward / 50
    reading, reason = read_claim(StudyResults((rewarded(run, mass, reward),)), "C3")
    assert reading == SUPPORTED
    assert "of the number of new heads 0.00" in reason  # no count could have shown it
    apart = np.random.default_rng(1).permutation(reward)
    assert read_claim(StudyResults((rewarded(run, mass, apart),)), "C3")[0] != SUPPORTED
    backwards = rewarded(run, mass, -reward)
    assert read_claim(StudyResults((backwards,)), "C3")[0] == NOT_SUPPORTED


def test_c3_needs_points_and_says_how_many(run) -> None:
    reward = np.cumsum(np.random.default_rng(0).normal(size=6))
    few = read_claim(StudyResults((rewarded(run, 0.5 + reward / 50, reward, 6),)), "C3")
    assert few == (UNDECIDED, "grpo has 5 differenced points; at least 12 are needed")


def test_two_thirds_is_between_a_half_and_five_sixths(run) -> None:
    readings = {
        kept_heads: read_claim(StudyResults((run("sft", "sft", [set()], kept_heads=kept_heads),)), "C4")[0]
        for kept_heads in (3, 6, 8, 12)
    }
    assert readings == {3: NOT_SUPPORTED, 6: UNDECIDED, 8: SUPPORTED, 12: NOT_SUPPORTED}


def test_depth_is_asked_of_both_methods(run) -> None:
    """The base's core heads are 0 to 11, of layers 0 and 1: their mean depth is 1/12."""
    late = run("sft", "sft", [LATE])
    deep = replace(run("distill", "distill", [LATE]), on_traces=True)
    assert read_claim(StudyResults((late, deep)), "C5")[0] == NOT_SUPPORTED  # distillation's are late too
    lacking = "no distillation on a teacher's traces is compared; both are asked about"
    assert read_claim(StudyResults((late,)), "C5") == (UNDECIDED, lacking)
    on_policy = replace(deep, on_traces=False)
    assert read_claim(StudyResults((late, on_policy)), "C5") == (UNDECIDED, lacking)


def test_depth_is_compared_with_the_base_and_not_with_the_middle(run, result) -> None:
    """A base whose core heads are the last 16: heads in the middle layer are early there, late above a shallow base."""
    deep_base, shallow_base = np.zeros((5, 8)), np.zeros((5, 8))
    deep_base.ravel()[24:] = 1
    shallow_base.ravel()[:8] = 1
    middle = np.zeros((5, 8))
    middle[2] = 1
    late = np.zeros((5, 8))
    late[4] = 1

    def trained(method: str, base: np.ndarray, post: np.ndarray) -> Run:
        series = [(10, result(base, post))]
        return Run(method, method, method, "", tuple(series), head_dynamics(series), on_traces=method == "distill")

    sft = trained("sft", shallow_base, late)
    distilled = trained("distill", deep_base, middle)
    assert read_claim(StudyResults((sft, distilled)), "C5")[0] == SUPPORTED
    shallow = trained("distill", shallow_base, middle)
    assert read_claim(StudyResults((sft, shallow)), "C5")[0] == NOT_SUPPORTED


def test_a_share_without_interval_decides_nothing(run) -> None:
    few = run("sft", "sft", [set()], kept_heads=3)
    (step, comparison) = few.series[0]
    kept = replace(comparison.counts.kept, low=np.nan, high=np.nan)
    without = replace(comparison, counts=replace(comparison.counts, kept=kept))
    assert read_claim(StudyResults((replace(few, series=((step, without),)),)), "C4")[0] == UNDECIDED


def test_heads_of_one_layer_are_as_deep_as_each_other(run) -> None:
    plain = run("distill", "distill", [set()])
    ((step, comparison),) = plain.series
    base, post = np.zeros((4, 16)), np.zeros((4, 16))
    base[1, :10] = post[1, :15] = 1
    shallow = replace(comparison, base_frequency=base, post_frequency=post)
    estimate = _depth_difference([replace(plain, series=((step, shallow),))])
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0, 0, 0, 5)
