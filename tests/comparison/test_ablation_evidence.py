"""Evidence on losses whose reading is known beforehand, and by numbers summed by hand."""

import numpy as np
import pytest

from headscope.comparison.ablation_evidence import (
    difference_in_differences,
    dose_response,
    guard,
    judge_operators,
    operator_effect,
    pass_difference,
    repair,
)
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.evidence import Evidence

TEXTS = 60
DRAW = np.random.default_rng(0)
WHOLE = DRAW.gamma(2.0, 0.2, TEXTS)


def noisy(shift: float, rows: int | None = None) -> np.ndarray:
    size = TEXTS if rows is None else (rows, TEXTS)
    return WHOLE + shift + np.random.default_rng(int(100 * shift)).normal(0, 0.05, size)


def effect(shift: float, null: float = 0.1, count: int = 40, name: str = "zero", matched: float = 0.1):
    return operator_effect(name, WHOLE, noisy(shift), noisy(null, count), noisy(matched, count), -noisy(0.1))


def test_an_effect_above_its_null_is_supported() -> None:
    measured_effect = effect(0.5)
    assert measured_effect.supported
    assert measured_effect.effect.value == pytest.approx(0.5, abs=0.03)
    assert measured_effect.p_value == pytest.approx(1 / 41)
    assert (measured_effect.rank, measured_effect.effect.n) == (1, TEXTS)
    assert measured_effect.excess.value == pytest.approx(0.4, abs=0.03)


def test_an_effect_that_random_sets_have_too_is_not() -> None:
    measured_effect = effect(0.1, null=0.2)
    assert not measured_effect.supported
    assert measured_effect.p_value == 1
    assert not effect(0.5, count=10).supported  # 1 / 11 is above 0.05
    assert effect(0.5, matched=0.7).importance_p_value == 1


def test_three_of_four_operators_must_agree() -> None:
    good, bad, few = effect(0.5), effect(0.1, null=0.2), effect(0.5, count=5)
    assert judge_operators([good, good, good, bad], TEXTS)[0] is True
    assert judge_operators([good, good, bad, bad], TEXTS)[0] is False
    assert judge_operators([good, good], TEXTS)[0] is None
    assert judge_operators([good, good, few, few], TEXTS)[0] is None
    assert judge_operators([good] * 4, 9)[0] is None
    assert "3 of 4 operators support it (zero, zero, zero)" in judge_operators([good, good, good, bad], TEXTS)[1]


def test_a_v_shaped_dose_has_a_trend_on_both_sides() -> None:
    alphas = (0.0, 0.5, 0.8, 1.0, 1.3, 1.5)
    rows = np.array([noisy(0.3 * abs(1 - alpha)) for alpha in alphas])
    response = dose_response(alphas, WHOLE, rows)
    assert response.below is not None
    assert response.above is not None
    assert response.below.slope.value == pytest.approx(0.3, abs=0.05)
    assert max(response.below.p_value, response.above.p_value) < 0.01
    flat = dose_response(alphas, WHOLE, np.array([noisy(0.0) for _ in alphas]))
    assert flat.below is not None
    assert flat.below.slope.low < 0.05
    assert dose_response((0.5, 1.3), WHOLE, rows[[1, 4]]).below is None
    assert dose_response(alphas, WHOLE[:1], rows[:, :1]).below is None  # one text has no order to test


@pytest.mark.parametrize(("texts", "is_enough"), [(1, False), (2, True)])
def test_one_text_has_neither_a_trend_nor_an_interval_between_tasks(texts: int, is_enough: bool) -> None:
    whole = np.zeros(texts)
    doses = np.outer([0.4, 0.2, 0.1, 0.3], np.arange(1, texts + 1))
    response = dose_response((0.0, 0.5, 0.8, 1.3), whole, doses)
    assert (response.below is not None) == is_enough
    assert response.effects[0].value == pytest.approx(0.4 * np.arange(1, texts + 1).mean())
    off_task = guard("recall", np.array([1.0, 2.0, 4.0]), whole, np.linspace(0.5, 0.7, texts))
    assert np.isfinite(off_task.specific.low) == is_enough
    assert off_task.specific.value == pytest.approx(7 / 3 - np.linspace(0.5, 0.7, texts).mean())


def test_the_trend_test_keeps_its_level() -> None:
    draw, alphas = np.random.default_rng(3), (0.0, 0.5, 0.8)
    rejected = 0
    for _ in range(200):
        response = dose_response(alphas, np.zeros(30), draw.normal(size=(3, 30)))
        assert response.below is not None
        rejected += response.below.p_value <= 0.05
    # At α = 1 the change is 0 by definition, the median of the others: the test is not exact, and may not be liberal.
    assert rejected <= 20


def test_guard_repair_and_differences_by_hand() -> None:
    on, whole, removed = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0]), np.array([1.0, 3.0])
    off_task = guard("recall", on, whole, removed)
    assert off_task.specific.value == pytest.approx(1.0)
    assert (off_task.perplexity_before, off_task.perplexity_after) == pytest.approx((np.e, np.e**2))
    mended = repair(np.zeros(3), np.array([1.0, 1.0, 1.0]), np.array([2.0, 3.0, 1.0]))
    assert (mended.direct.value, mended.total.value, mended.repaired.value) == pytest.approx((2, 1, 1))
    assert difference_in_differences(np.array([1.0, 3.0]), np.array([0.0, 1.0])).value == pytest.approx(1.5)
    post, base = (np.array([1.0, 1.0]), np.array([0.0, 0.5])), (np.array([0.5, 0.5]), np.array([0.5, 0.0]))
    assert pass_difference(post, base).value == pytest.approx(-0.5)


def test_evidence_survives_json() -> None:
    operators = (effect(0.5), effect(0.1, count=0))
    stands, reason = judge_operators(operators, TEXTS)
    dose = dose_response((0.0, 0.5, 1.3), WHOLE, noisy(0.2, 3))
    off_task = guard("recall", noisy(0.5) - WHOLE, WHOLE, noisy(0.1))
    mended = repair(WHOLE, noisy(0.5), noisy(0.6))
    change = difference_in_differences(noisy(0.5), noisy(0.1))
    evidence = Evidence(
        "t", HeadSet.of(["L1H2"]), TEXTS, 3, operators, stands, reason, change, None, dose, off_task, mended
    )
    loaded = Evidence.from_dict(evidence.as_dict())
    assert loaded.as_dict() == evidence.as_dict()
    assert (loaded.agreeing, loaded.dose, loaded.guard, loaded.repair) == (1, dose, off_task, mended)
    with pytest.raises(InputError, match="schema_version 9"):
        Evidence.from_dict(evidence.as_dict() | {"schema_version": 9})


def test_other_texts_are_refused() -> None:
    with pytest.raises(InputError, match="layer_controls holds losses of 5 texts"):
        operator_effect("zero", WHOLE, WHOLE, np.zeros((2, 5)), np.zeros((0, TEXTS)), WHOLE)
