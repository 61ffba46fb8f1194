"""Unbiased pass@k of each problem (Chen et al. 2021, arXiv 2107.03374, eq. 1)."""

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError


def pass_at_k_by_problem(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> "Float[np.ndarray, 'problem']":
    """Return per problem 1 − C(n − c, k) / C(n, k), the share of its size-k subsets of samples with a correct one.

    Raises InputError for k < 1 or k > samples per problem.
    """
    samples = check_k(correct, k)
    wrong = samples - correct.sum(axis=1)[:, None]
    drawn = np.arange(k)
    # A product of k ratios in [0, 1] neither overflows nor cancels, as quotients of binomials would.
    missed = np.prod(np.clip((wrong - drawn) / (samples - drawn), 0, None), axis=1)
    return np.asarray(1 - missed, dtype=np.float64)


def check_k(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> int:
    """Return the samples per problem. Raises InputError if there is no problem, or k is not in 1 … samples."""
    problems = len(correct)
    samples = int(correct.shape[1])
    if problems == 0:
        raise InputError("accuracy needs at least one problem; the table of verdicts is empty")
    if not 1 <= k <= samples:
        raise InputError(f"k = {k} cannot be estimated from {samples} samples per problem; allowed: 1-{samples}")
    return samples
