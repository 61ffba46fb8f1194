"""Multiple testing: p-values adjusted over many tests."""

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError


def q_values(p_values: "Float[np.ndarray, '*grid']") -> "Float[np.ndarray, '*grid']":
    """Return Benjamini and Hochberg's adjusted p-values (1995) over all cells of the grid.

    Among the cells with q ≤ α the expected share of false discoveries is at most α, if the tests are independent or
    positively dependent. NaN (not tested) stays NaN and is not counted as a test.

    Raises InputError for a value outside [0, 1].
    """
    tested = ~np.isnan(p_values)
    if ((p_values[tested] < 0) | (p_values[tested] > 1)).any():
        raise InputError("a p-value lies outside 0 and 1; Benjamini and Hochberg's procedure needs probabilities")
    adjusted = np.full(p_values.shape, np.nan)
    if tested.any():
        from scipy.stats import false_discovery_control

        adjusted[tested] = false_discovery_control(p_values[tested], method="bh")
    return adjusted


def holm(p_values: "Float[np.ndarray, 'test']") -> "Float[np.ndarray, 'test']":
    """Return Holm's adjusted p-values (1979): α bounds the chance of any false rejection, under any dependence."""
    order = np.argsort(p_values)
    # The smallest p is multiplied by the number of tests, the next by one less; the maximum keeps them in order.
    stepped = np.maximum.accumulate((len(order) - np.arange(len(order))) * p_values[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
