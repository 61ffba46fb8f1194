"""The integration error of mean head scores, compared with their sampling error over pairs.

Pairs differ from one another by far more than 1 %, and circuits are read from means over pairs: an integral that is
good to 10 % in every pair moves a mean over sixteen of them by less than a fifth of its standard error.

The error of the mean is estimated in two parts, whose squares add up. *Random*: each pair's estimated error, as if it
were independent of the others'. *Systematic*: how far the sum of the input's edges, over all pairs, is from the known
Σ L(corrupt) − L(clean); it includes errors of one sign, which do not average out. Both are relative errors of edge
scores; for head scores, which are sums over many edges, they are multiplied by ``_HEADS``. On SmolLM2-135M and the
lab's models the estimated ratio is 0.9-6 times the true one at the tolerances in use (docs/log.md,
``benchmarks/nodes.py``). It is a ratio of norms over heads: a single head's error may be up to half of its standard
error.
"""

import numpy as np
from jaxtyping import Float

from headscope.circuits.adaptive_quadrature import TOLERANCE

LARGEST_ERROR_RATIO = 0.2
"""Largest integration error relative to the standard error over pairs: it lengthens no interval by more than 2 %."""
_HEADS = 0.5
# Pairs' head scores differ by about half of their mean: then this times 1/√n leaves most sets of pairs below the
# largest error ratio.
_FIRST, _COARSEST = 0.44, 0.2


def first_tolerance(pairs: int) -> float:
    """Return the relative error to which each of ``pairs`` pairs is integrated at first."""
    return float(np.clip(_FIRST / np.sqrt(pairs), TOLERANCE, _COARSEST))


def error_ratio(
    heads: Float[np.ndarray, "pair layer head"],
    errors: Float[np.ndarray, " pair"],
    missed: Float[np.ndarray, " pair"],
    changes: Float[np.ndarray, " pair"],
) -> float:
    """Return the norm of the mean head scores' integration error over the norm of their standard error.

    Args:
        heads: head scores of at least two pairs.
        errors: estimated error of each pair, relative to its scores.
        missed: sum of the scores of a pair's input edges less L(corrupt) − L(clean), signed.
        changes: L(corrupt) − L(clean) of each pair.

    Returns:
        The ratio; 0 if there is no integration error, infinity if there is one and all pairs agree.
    """
    count = len(heads)
    scores = heads.reshape(count, -1).astype(np.float64)
    standard_error = float(np.linalg.norm(scores.std(axis=0, ddof=1)) / np.sqrt(count))
    random = float(np.linalg.norm(errors[:, None] * scores)) / count
    # 1e-30: pairs whose loss does not change and is not missed have no systematic error.
    bias = abs(float(missed.sum())) / max(float(np.abs(changes).sum()), 1e-30)
    systematic = bias * float(np.linalg.norm(scores.mean(axis=0)))
    error = _HEADS * float(np.hypot(random, systematic))
    if error == 0:
        return 0.0
    return float(error / standard_error) if standard_error > 0 else np.inf
