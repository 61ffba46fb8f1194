"""pass@k and success@k of a boolean [problem, sample] matrix, each with its interval.

For exchangeable samples both estimate the same quantity, the chance that k samples of a problem hold a
correct one; pass@k (Chen et al. 2021, arXiv 2107.03374, eq. 1) averages over all subsets of size k and is the
lower-variance form.

majority@k is the chance that the most frequent answer among k samples is right (``majority``).

Intervals: problems are the independent units (``measures.intervals.mean_share``).
"""

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.measures.intervals import mean_share
from headscope.results.estimate import Estimate


def pass_at_k_by_problem(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> "Float[np.ndarray, 'problem']":
    """Return per problem the share of its size-k subsets of samples that hold a correct one: 1 − C(n − c, k) / C(n, k).

    Raises InputError for k < 1 or k > samples per problem.
    """
    samples = check_k(correct, k)
    wrong = samples - correct.sum(axis=1)[:, None]
    drawn = np.arange(k)
    # A product of k ratios in [0, 1] neither overflows nor cancels, as quotients of binomials would.
    missed = np.prod(np.clip((wrong - drawn) / (samples - drawn), 0, None), axis=1)
    return np.asarray(1 - missed, dtype=np.float64)


def pass_at_k(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> Estimate:
    """Estimate pass@k without bias, averaged over problems.

    Raises InputError for k < 1, k > samples per problem, or no problem.
    """
    return mean_share(pass_at_k_by_problem(correct, k))


def success_at_k(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> Estimate:
    """Estimate the share of problems solved by any of their first k samples (the paper's success@k).

    Raises InputError for k < 1, k > samples per problem, or no problem.
    """
    check_k(correct, k)
    return mean_share(np.asarray(correct[:, :k].any(axis=1), dtype=np.float64))


def pass_at_1(correct: "Bool[np.ndarray, 'problem sample']") -> Estimate:
    """Estimate the mean accuracy over samples and problems."""
    return pass_at_k(correct, 1)


def check_k(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> int:
    """Return the samples per problem; raise InputError if there is no problem, or k is not in 1 … samples."""
    problems = len(correct)
    samples = int(correct.shape[1])
    if problems == 0:
        raise InputError("accuracy needs at least one problem; the table of verdicts is empty")
    if not 1 <= k <= samples:
        raise InputError(f"k = {k} cannot be estimated from {samples} samples per problem; allowed: 1-{samples}")
    return samples
