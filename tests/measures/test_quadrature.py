"""Quadrature rules: nodes by hand, weights, and the degree Gauss–Legendre is exact for."""

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.measures.quadrature import RULES, quadrature


def test_nodes_by_hand() -> None:
    np.testing.assert_allclose(quadrature("left", 4).alphas, [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(quadrature("right", 4).alphas, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quadrature("midpoint", 2).alphas, [0.25, 0.75])
    np.testing.assert_allclose(quadrature("gauss", 2).alphas, [0.5 - 0.75**0.5 / 3, 0.5 + 0.75**0.5 / 3])


@pytest.mark.parametrize("rule", RULES)
def test_weights_add_up_to_one(rule: str) -> None:
    assert quadrature(rule, 7).weights.sum() == pytest.approx(1)


def test_gauss_integrates_degree_2m_minus_1_exactly() -> None:
    rule = quadrature("gauss", 3)
    for degree in range(6):
        assert (rule.weights * rule.alphas**degree).sum() == pytest.approx(1 / (degree + 1))
    assert (rule.weights * rule.alphas**6).sum() != pytest.approx(1 / 7, rel=1e-6)


def test_unknown_rules_and_counts_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'midpoint'"):
        quadrature("midpont", 4)
    with pytest.raises(InputError, match="nodes=0"):
        quadrature("left", 0)
