"""majority@k: the chance that a vote among k samples of a problem gives the right answer.

Exact over all subsets of k samples, like pass@k: samples fall into classes of equal answers, and the right class wins
where it has the most votes; a tie is broken evenly. What states no answer (unparsed, unfinished) does not vote; a
subset without any vote is wrong.

With c_i samples in class i, the subsets in which the right class has v votes and t others have v too are counted by
the coefficient of x^(k−v) y^t of  C(c, v) · (1 + x)^silent · Π_i [ Σ_{j<v} C(c_i, j) x^j + y · C(c_i, v) x^v ].
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.measures.intervals import mean_share
from headscope.measures.pass_at_k import check_k, check_verdicts
from headscope.results.estimate import Estimate

Votes = Sequence[Sequence[Hashable]]
"""[problem][sample]: equal for equal answers, None for a sample without one."""


def majority_at_k(correct: "Bool[np.ndarray, 'problem sample']", votes: Votes, k: int) -> Estimate:
    """Estimate majority@k over problems.

    Raises InputError for k < 1, k > samples per problem, no problem, or votes of another shape.
    """
    return mean_share(majority_at_k_by_problem(correct, votes, k))


def majority_at_k_by_problem(
    correct: "Bool[np.ndarray, 'problem sample']", votes: Votes, k: int
) -> "Float[np.ndarray, 'problem']":
    """Return per problem the share of its size-k subsets whose vote is right, ties counted as their share."""
    correct = check_verdicts(correct)
    check_k(correct, k)
    if [len(cast) for cast in votes] != [correct.shape[1]] * len(correct):
        raise InputError(f"votes need one answer for each of the {correct.shape[0]} × {correct.shape[1]} samples")
    shares = []
    for right, cast in zip(correct, votes, strict=True):
        right_size, wrong_sizes, silent = _class_sizes(right, cast)
        shares.append(_share_won(right_size, wrong_sizes, silent, k))
    return np.array(shares)


def _class_sizes(right: "Bool[np.ndarray, 'sample']", cast: Sequence[Hashable]) -> tuple[int, tuple[int, ...], int]:
    """Return the sizes of the right class, of the wrong classes, and of the silent rest."""
    # All right answers are one class, however they are spelt: each equals the gold one.
    wrong = Counter(vote for vote, is_right in zip(cast, right, strict=True) if not is_right and vote is not None)
    correct = int(right.sum())
    return correct, tuple(sorted(wrong.values())), len(cast) - correct - wrong.total()


@lru_cache(maxsize=65536)
def _share_won(correct: int, wrong: tuple[int, ...], silent: int, k: int) -> float:
    """Return the share of all subsets of k samples in which the right class wins."""
    total = sum(_count_wins(correct, wrong, silent, k, votes) for votes in range(1, min(correct, k) + 1))
    return total / comb(correct + sum(wrong) + silent, k)


def _count_wins(correct: int, wrong: tuple[int, ...], silent: int, k: int, votes: int) -> float:
    """Count the subsets of k samples that the right class wins with ``votes`` votes, ties as their share."""
    rest = k - votes
    # ways[t, m]: in how many ways m of the other samples can be chosen so that t classes have ``votes`` votes too.
    ways = np.zeros((1 + rest // votes, rest + 1))
    ways[0] = [comb(silent, chosen) for chosen in range(rest + 1)]
    # float64: binomials of some hundred samples exceed int64, and a relative error of 1e-15 does no harm to a share.
    for size in wrong:
        fewer = np.array([comb(size, chosen) for chosen in range(min(votes, rest + 1))], dtype=np.float64)
        grown = np.stack([np.convolve(row, fewer)[: rest + 1] for row in ways])
        # A class with as many votes moves a subset from t tied classes to t + 1.
        if size >= votes and rest >= votes:
            grown[1:, votes:] += comb(size, votes) * ways[:-1, : rest + 1 - votes]
        ways = grown
    return comb(correct, votes) * float(sum(row[rest] / (tied + 1) for tied, row in enumerate(ways)))
