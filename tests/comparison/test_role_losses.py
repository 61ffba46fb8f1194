"""Losses by role, by numbers summed by hand and effects known beforehand."""

import numpy as np
import pytest

from headscope.comparison.head_sweep import HeadSweep
from headscope.comparison.role_losses import role_losses
from headscope.heads import HeadSet
from headscope.results.role_losses import RoleLosses

HEADS = HeadSet.of(["L0H0", "L1H1"])
SWEEP = HeadSweep(HEADS, "all 2 heads", (2, 2), "t1", problems=40)
ROLES = ("retrieval", "iteration", "answer")


def test_a_sweep_edits_one_head_at_a_time() -> None:
    edits = SWEEP.edits(0.0, 1.5)
    assert edits.shape == (1 + 2 * 2, 2, 2)
    changed = [np.argwhere(edit != 1).tolist() for edit in edits]
    assert changed == [[], [[0, 0]], [[1, 1]], [[0, 0]], [[1, 1]]]
    assert [edit.min() for edit in edits[:3]] == [1.0, 0.0, 0.0]
    assert [edit.max() for edit in edits[3:]] == [1.5, 1.5]


def test_by_hand() -> None:
    tokens = np.array([[2, 0, 0], [4, 0, 1]])
    sums = np.array([[[1.0, 0, 0], [2, 0, 3]], [[3, 0, 0], [2, 0, 4]], [[1, 0, 0], [6, 0, 3]]])
    losses = role_losses(sums, tokens, ROLES, SWEEP, reader="lab")
    assert losses.roles == ("retrieval", "answer")
    assert losses.tokens.tolist() == [6, 1]
    assert losses.texts.tolist() == [2, 1]
    assert losses.whole.tolist() == [0.5, 3.0]
    assert losses.change.tolist() == [[0.5, 1.0], [0.5, 0.0]]
    assert np.isnan(losses.q_value).all()  # fewer than ten texts
    assert np.isnan(losses.low[:, 1]).all()
    assert losses.low[0, 0] < 0.5 < losses.high[0, 0]
    assert losses.effects("answer") == ()


def test_the_head_that_a_role_needs_is_found_and_no_other() -> None:
    draw = np.random.default_rng(0)
    tokens = np.full((32, 3), 5)
    sums = draw.gamma(2.0, 0.1, (1, 32, 3)) + draw.normal(0, 0.1, (3, 32, 3))
    sums[2, :, 1] += 5 * 0.4
    losses = role_losses(sums, tokens, ROLES, SWEEP, reader="lab")
    (effect,) = losses.effects("iteration")
    assert str(effect.head) == "L1H1"
    assert effect.change.value == pytest.approx(0.4, abs=0.02)
    assert effect.change.low > 0.3
    assert losses.effects("retrieval") == losses.effects("answer") == ()


def test_a_sure_and_tiny_change_is_not_called_one() -> None:
    sums = np.concatenate([np.zeros((1, 32, 1)), np.random.default_rng(0).normal(0.01, 0.001, (2, 32, 1))])
    losses = role_losses(sums, np.ones((32, 1), dtype=int), ("form",), SWEEP, reader="lab")
    assert (losses.q_value < 1e-6).all()
    assert losses.effects("form") == ()
    assert len(losses.effects("form", least=0.0)) == 2


def test_a_head_that_changes_nothing_has_p_one() -> None:
    sums = np.ones((3, 12, 1))
    losses = role_losses(sums, np.ones((12, 1), dtype=int), ("form",), SWEEP, reader="lab")
    assert losses.q_value.tolist() == [[1.0], [1.0]]


def test_json_is_the_identity() -> None:
    losses = role_losses(np.ones((3, 2, 3)), np.ones((2, 3), dtype=int), ROLES, SWEEP, reader="lab")
    again = RoleLosses.from_dict(losses.as_dict())
    assert np.array_equal(again.q_value, losses.q_value, equal_nan=True)
    assert (again.heads, again.roles, again.heads_are) == (HEADS, ROLES, "all 2 heads")
