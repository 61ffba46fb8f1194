"""Ablation and slope of single heads by hand-summed losses."""

import numpy as np
import pytest
from scipy import stats

from headscope.comparison.head_scaling import head_scaling
from headscope.comparison.head_sweep import HeadSweep
from headscope.heads import HeadSet
from headscope.results.head_scaling import HeadScaling

HEADS = HeadSet.of(["L0H1", "L1H0"])


def scaled(texts: int = 12) -> HeadScaling:
    """Return the result of two of four heads: L0H1 is needed, L1H0 does nothing."""
    rng = np.random.default_rng(0)
    whole, noise = rng.uniform(0.1, 0.4, texts), rng.normal(0, 0.05, texts)
    at_zero, weak, strong = whole + 1 + noise, whole + 0.3 + noise, whole - 0.1
    losses = np.stack([[at_zero, whole], [weak, whole], [strong, whole]])
    return head_scaling(whole, losses, (0.5, 1.5), HeadSweep(HEADS, "2 of 4", (2, 2), "T1", problems=20))


def test_ablation_is_the_rise_without_the_head_and_slope_goes_through_both_factors() -> None:
    result = scaled()
    rng = np.random.default_rng(0)
    whole, noise = rng.uniform(0.1, 0.4, 12), rng.normal(0, 0.05, 12)
    assert result.whole == pytest.approx(whole.mean())
    assert result.ablation.value[0, 1] == pytest.approx(1 + noise.mean())
    assert result.slope.value[0, 1] == pytest.approx(-0.4 - noise.mean())
    low, high = stats.ttest_1samp(1 + noise, 0).confidence_interval(0.95)
    assert (result.ablation.low[0, 1], result.ablation.high[0, 1]) == (pytest.approx(low), pytest.approx(high))


def test_a_head_that_changes_nothing_is_told_to_change_nothing() -> None:
    result = scaled()
    assert result.ablation.value[1, 0] == result.slope.value[1, 0] == 0
    assert result.ablation_q[1, 0] == result.slope_q[1, 0] == 1
    assert (result.needed(), result.steep()) == (HeadSet.of(["L0H1"]), HeadSet.of(["L0H1"]))


def test_heads_that_were_not_scaled_are_unknown_and_count_for_no_test() -> None:
    result = scaled()
    for grid in (result.ablation.value, result.ablation.high, result.slope.value, result.ablation_q):
        assert np.isnan(grid[0, 0])
        assert np.isnan(grid[1, 1])
    # Two heads are tested: the smaller p-value is doubled.
    assert result.ablation.p_value is not None
    assert result.ablation_q[0, 1] == pytest.approx(2 * result.ablation.p_value[0, 1])


def test_few_texts_are_shown_and_not_tested() -> None:
    result = scaled(texts=9)
    assert result.ablation.value[0, 1] > 0.5
    assert np.isnan(result.ablation_q).all()
    assert len(result.needed()) == 0


def test_saving_and_loading_is_the_identity(tmp_path) -> None:
    scaled().save(tmp_path)
    assert HeadScaling.load(tmp_path).as_dict() == scaled().as_dict()
