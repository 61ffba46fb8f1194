"""pass@k and success@k of a boolean [problem, sample] matrix, each with its interval.

For exchangeable samples both estimate the same quantity, the chance that k samples of a problem hold a
correct one; pass@k (Chen et al. 2021, arXiv 2107.03374, eq. 1) averages over all subsets of size k and is the
lower-variance form.

majority@k is the chance that the most frequent answer among k samples is right (``majority``).

Intervals: problems are the independent units (``measures.intervals.mean_share``).
"""

import numpy as np

from headscope.measures.intervals import mean_share
from headscope.measures.pass_at_k import VerdictRows, check_k, check_verdicts, pass_at_k_by_problem
from headscope.results.estimate import Estimate


def pass_at_k(correct: VerdictRows, k: int) -> Estimate:
    """Estimate pass@k without bias, averaged over problems.

    Raises InputError for k < 1, k > samples per problem, or no problem.
    """
    return mean_share(pass_at_k_by_problem(correct, k))


def success_at_k(correct: VerdictRows, k: int) -> Estimate:
    """Estimate the share of problems solved by any of their first k samples (the paper's success@k).

    Raises InputError for k < 1, k > samples per problem, or no problem.
    """
    verdicts = check_verdicts(correct)
    check_k(verdicts, k)
    return mean_share(np.asarray(verdicts[:, :k].any(axis=1), dtype=np.float64))


def pass_at_1(correct: VerdictRows) -> Estimate:
    """Estimate the mean accuracy over samples and problems."""
    return pass_at_k(correct, 1)
