"""The share of over-thinking, loops and slips among lost answers, against answers that were never right.

A slip is a step of the right kind with a wrong result. A wrong plan, an undefined variable and a broken form are not
slips: the step itself was wrong.
"""

from collections.abc import Sequence

import numpy as np

from headscope.measures.independent_estimates import difference
from headscope.measures.intervals import mean_share, without_interval
from headscope.results.estimate import Estimate

SLIPS = ("calculation", "retrieval", "iteration", "answer copy", "recall")
LABELS = ("over-thinking", "loop", *SLIPS)
"""Kinds of failure (``traces.reading.FAILURES``) to which an answer that was within reach is lost."""

Failures = Sequence[Sequence[str]]
"""By problem, why each answer is wrong; "" for a right one."""


def excess_of_labels(lost: Failures, both: Failures) -> Estimate:
    """Return the labelled share of the wrong answers of ``lost``, less that of ``both``; n is the smaller number."""
    first, second = labelled_share(lost), labelled_share(both)
    if min(first.n, second.n) == 0:
        return without_interval(0, "no wrong answer on one side")
    return difference(first, second)


def labelled_share(failures: Failures) -> Estimate:
    """Return the labelled share of a problem's wrong answers, averaged over the problems that have any."""
    shares = []
    for row in failures:
        wrong = [failure for failure in row if failure]
        if wrong:
            shares.append(sum(failure in LABELS for failure in wrong) / len(wrong))
    return mean_share(np.array(shares))
