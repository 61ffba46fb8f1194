"""The loss with single heads reverted, by hand-summed losses."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from headscope.comparison.head_revert import head_revert
from headscope.comparison.head_sweep import HeadSweep
from headscope.heads import HeadSet
from headscope.results.head_revert import HeadRevert


def reverted(texts: int = 12) -> HeadRevert:
    """Return the result of two of four heads: training L0H1 helped by about 0.2 nats, L1H0 is as it was."""
    rng = np.random.default_rng(0)
    whole, rise = rng.uniform(0.1, 0.4, texts), rng.normal(0.2, 0.05, texts)
    losses = np.stack([whole + rise, whole])
    sweep = HeadSweep(HeadSet.of(["L0H1", "L1H0"]), "2 of 4", (2, 2), "T1", problems=20)
    return head_revert(whole, losses, sweep, revert_kv="all")


def test_the_change_is_reverted_less_whole_with_students_interval_and_q_over_the_heads() -> None:
    result = reverted()
    rng = np.random.default_rng(0)
    whole, rise = rng.uniform(0.1, 0.4, 12), rng.normal(0.2, 0.05, 12)
    assert result.whole == pytest.approx(whole.mean())
    assert result.change.value[0, 1] == pytest.approx(rise.mean())
    test = stats.ttest_1samp(rise, 0)
    low, high = test.confidence_interval(0.95)
    assert (result.change.low[0, 1], result.change.high[0, 1]) == (pytest.approx(low), pytest.approx(high))
    # Two heads are tested: the smaller p-value is doubled.
    assert result.change_q[0, 1] == pytest.approx(2 * test.pvalue)
    assert (result.change.value[1, 0], result.change_q[1, 0]) == (0, 1)
    assert result.changed() == HeadSet.of(["L0H1"])
    assert np.isnan(result.change.value[0, 0])


def test_few_texts_are_shown_and_not_tested() -> None:
    result = reverted(texts=9)
    assert result.change.value[0, 1] > 0.1
    assert np.isnan(result.change_q).all()
    assert len(result.changed()) == 0


def test_saving_and_loading_is_the_identity(tmp_path: Path) -> None:
    reverted().save(tmp_path)
    assert HeadRevert.load(tmp_path).as_dict() == reverted().as_dict()
