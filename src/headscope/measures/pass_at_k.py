"""Unbiased pass@k of each problem (Chen et al. 2021, arXiv 2107.03374, eq. 1)."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError

VerdictRows = Iterable[object]
"""True or false for each [problem, sample], an array or rows; what is in them is checked, not assumed."""


def pass_at_k_by_problem(correct: VerdictRows, k: int) -> "Float[np.ndarray, 'problem']":
    """Return per problem 1 − C(n − c, k) / C(n, k), the share of its size-k subsets of samples with a correct one.

    Raises InputError for k < 1 or k > samples per problem, or a table of anything else.
    """
    verdicts = check_verdicts(correct)
    samples = check_k(verdicts, k)
    wrong = samples - verdicts.sum(axis=1)[:, None]
    drawn = np.arange(k)
    # A product of k ratios in [0, 1] neither overflows nor cancels, as quotients of binomials would.
    missed = np.prod(np.clip((wrong - drawn) / (samples - drawn), 0, None), axis=1)
    return np.asarray(1 - missed, dtype=np.float64)


def check_verdicts(correct: VerdictRows) -> "Bool[np.ndarray, 'problem sample']":
    """Return the table of verdicts as an array. Raises InputError unless its rows hold true and false, or 1 and 0."""
    try:
        table = np.asarray(correct if hasattr(correct, "__array__") else list(correct))
    except ValueError:  # rows of different lengths
        table = np.empty(0, dtype=object)
    if table.ndim != 2 or not (table.dtype == bool or (table.dtype.kind in "iuf" and np.isin(table, (0, 1)).all())):
        content = f"{table.ndim} axes" if table.ndim != 2 else f"values of {table.dtype} beside 0 and 1"
        raise InputError(f"the table of verdicts has {content}; give true or false for each [problem, sample]")
    return table.astype(bool)


def check_k(correct: "Bool[np.ndarray, 'problem sample']", k: int) -> int:
    """Return the samples per problem. Raises InputError if there is no problem, or k is not in 1 … samples."""
    problems = len(correct)
    samples = int(correct.shape[1])
    if problems == 0:
        raise InputError("accuracy needs at least one problem; the table of verdicts is empty")
    if k != int(k) or not 1 <= k <= samples:
        raise InputError(f"k = {k} cannot be estimated from {samples} samples per problem; allowed: 1-{samples}")
    return samples
