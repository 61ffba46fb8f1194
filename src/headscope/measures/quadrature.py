"""Quadrature on the path from the corrupt (α = 0) to the clean (α = 1) embedding (method section 3)."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError, suggestion

Rule = Literal["gauss", "left", "midpoint", "right"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Nodes α in [0, 1], their weights, which add up to 1, and the name of their rule."""

    alphas: Float[np.ndarray, " node"]
    weights: Float[np.ndarray, " node"]
    rule: str


AT_CLEAN = Quadrature(np.ones(1), np.ones(1), "clean")
"""One node at the clean embedding: plain attribution without a path."""


def quadrature(rule: str, count: int) -> Quadrature:
    """Return the quadrature ``rule`` with ``count`` nodes.

    ``left`` has α = k/m for k = 0..m−1 (the reference code), ``right`` k = 1..m (the paper), ``midpoint`` the middles;
    ``gauss`` is Gauss–Legendre, exact for gradients that are polynomials of degree 2m − 1 in α.

    Raises InputError if the rule is unknown or ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"found nodes={count}; give at least 1 quadrature node")
    steps = np.arange(count) / count
    equal = np.full(count, 1 / count)
    if rule == "left":
        return Quadrature(steps, equal, rule)
    if rule == "right":
        return Quadrature(steps + 1 / count, equal, rule)
    if rule == "midpoint":
        return Quadrature(steps + 0.5 / count, equal, rule)
    if rule == "gauss":
        points, weights = np.polynomial.legendre.leggauss(count)
        return Quadrature((points + 1) / 2, weights / 2, rule)  # from [−1, 1] to [0, 1]
    raise InputError(f"rule {rule!r} is unknown{suggestion(rule, RULES)}")
