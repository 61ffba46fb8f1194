"""Verdicts on answers whose reading is known beforehand."""

import numpy as np
import pytest

from headscope.comparison import ablation_verdict
from headscope.errors import InputError
from headscope.heads import HeadSet

ABOUT = {"task": "t1", "operator": "zero", "heads": HeadSet.of(["L3H5"])}


def answers(share: float, seed: int, problems: int = 200, samples: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).random((problems, samples)) < share


def controls(share: float, count: int = 24, **size: int) -> list[np.ndarray]:
    return [answers(share, 100 + number, **size) for number in range(count)]


def test_a_specific_loss_is_supported() -> None:
    verdict = ablation_verdict(answers(0.7, 1), answers(0.4, 2), controls(0.7), **ABOUT)
    assert verdict.reading == "supported"
    assert verdict.effect.value == pytest.approx(-0.3, abs=0.08)
    assert verdict.effect.high < 0
    assert verdict.p_value == pytest.approx(1 / 25)
    assert (verdict.rank, verdict.controls, verdict.problems, verdict.samples) == (1, 24, 200, 4)
    assert "p = 0.040" in verdict.reason


def test_a_loss_that_random_sets_cause_too_is_not_supported() -> None:
    verdict = ablation_verdict(answers(0.7, 1), answers(0.4, 2), controls(0.4), **ABOUT)
    assert verdict.reading == "not supported"
    assert "random sets do as much" in verdict.reason


def test_no_change_over_many_problems_is_not_supported() -> None:
    verdict = ablation_verdict(answers(0.7, 1, 2000), answers(0.7, 2, 2000), controls(0.7, problems=2000), **ABOUT)
    assert verdict.reading == "not supported"
    assert "an effect of 0.05 is excluded" in verdict.reason


def test_thirty_problems_that_did_not_change_exclude_nothing() -> None:
    same = answers(0.5, 1, problems=30, samples=1)
    verdict = ablation_verdict(same, same, [same] * 24, **ABOUT)
    assert verdict.reading == "undecided"
    assert verdict.effect.value == 0


def test_too_few_controls_or_problems_leave_it_undecided() -> None:
    few = ablation_verdict(answers(0.7, 1), answers(0.4, 2), controls(0.7, 10), **ABOUT)
    assert few.reading == "undecided"
    assert "19 are needed" in few.reason
    none = ablation_verdict(answers(0.7, 1), answers(0.4, 2), [], **ABOUT)
    assert none.reading == "undecided"
    assert "against 0 random sets: too few" in none.reason
    assert np.isnan(none.p_value)
    assert np.isnan(none.control_mean)
    small = ablation_verdict(np.ones((5, 1), bool), np.zeros((5, 1), bool), [np.ones((5, 1), bool)] * 24, **ABOUT)
    assert small.reading == "undecided"


def test_a_gain_is_the_other_way() -> None:
    before, after = answers(0.4, 1), answers(0.7, 2)
    assert "the other way" in ablation_verdict(before, after, controls(0.4), **ABOUT).reason


def test_effects_are_hand_summed() -> None:
    before = np.array([[True, True], [True, False]])
    after = np.array([[True, False], [False, False]])
    control = np.array([[True, True], [False, False]])
    verdict = ablation_verdict(before, after, [control, after], **ABOUT)
    assert verdict.baseline.value == 0.75
    assert verdict.ablated.value == 0.25
    assert verdict.effect.value == -0.5
    assert verdict.control_effects.tolist() == [-0.25, -0.5]
    assert verdict.control_mean == -0.375
    assert verdict.excess.value == -0.125
    assert verdict.p_value == pytest.approx(2 / 3)  # a tie counts against the real set


def test_false_support_is_rare_when_the_set_is_a_random_set() -> None:
    """Ablating any heads costs the same here; the real set must not stand out."""
    readings = []
    for trial in range(60):
        sets = [answers(0.5, 1000 * trial + number, problems=40) for number in range(26)]
        readings.append(ablation_verdict(answers(0.7, trial, 40), sets[0], sets[1:], **ABOUT).reading)
    assert readings.count("supported") <= 6


def test_other_problems_are_refused() -> None:
    with pytest.raises(InputError, match="the ablated run has 3 problems"):
        ablation_verdict(answers(0.5, 0, 4), answers(0.5, 0, 3), [], **ABOUT)
    with pytest.raises(InputError, match="control 1 has 5 problems"):
        ablation_verdict(answers(0.5, 0, 4), answers(0.5, 0, 4), [answers(0.5, 0, 4), answers(0.5, 0, 5)], **ABOUT)
    with pytest.raises(InputError, match="no answers"):
        ablation_verdict(answers(0.5, 0, 0), answers(0.5, 0, 0), [], **ABOUT)
