"""Which roles of tokens need which head: arithmetic on losses summed by role, one text per problem.

A text's loss in a role is a mean over the tokens it has in that role, so that long and short answers weigh alike, and
roles can be compared. A change is tested by Student's t over the texts that have the role, two-sided, and adjusted over
all heads and roles together (Benjamini and Hochberg).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtr, stdtrit

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.heads import HeadSet
from headscope.measures.intervals import LEVEL
from headscope.measures.multiplicity import q_values
from headscope.results.role_losses import RoleLosses
from headscope.results.traces import Reader


def role_losses(
    sums: "Float[np.ndarray, 'edit text role']",
    tokens: "Int[np.ndarray, 'text role']",
    roles: Sequence[str],
    heads: HeadSet,
    *,
    heads_are: str,
    task: str,
    reader: Reader,
    problems: int,
) -> RoleLosses:
    """Return what each head's removal costs each role.

    Args:
        sums: nats over a text's tokens of a role; edits in the order whole model, without each of ``heads``.
        tokens: how many of them a text has.
        roles: their names.
        heads: removed one at a time; heads_are: which of the model's they are, in words.
        task, reader, problems: for the record.
    """
    present = np.flatnonzero(tokens.sum(axis=0)).tolist()
    shape = (len(heads), len(present))
    whole, change, low, high, p_value = np.zeros(len(present)), *(np.full(shape, np.nan) for _ in range(4))
    for column, role in enumerate(present):
        having = tokens[:, role] > 0
        losses = sums[:, having, role] / tokens[having, role]  # [edit, text], nats per token
        whole[column] = losses[0].mean()
        columns = _student(losses[1:] - losses[0])
        change[:, column], low[:, column], high[:, column], p_value[:, column] = columns
    return RoleLosses(
        task=task,
        reader=reader,
        heads=heads,
        heads_are=heads_are,
        roles=tuple(roles[role] for role in present),
        tokens=tokens[:, present].sum(axis=0),
        texts=(tokens[:, present] > 0).sum(axis=0),
        whole=whole,
        change=change,
        low=low,
        high=high,
        q_value=q_values(p_value),
        answers=len(tokens),
        problems=problems,
        method=f"problem t {LEVEL:.0%}",
    )


def _student(change: "Float[np.ndarray, 'head text']") -> "Float[np.ndarray, 'four head']":
    """Return mean, both ends of its interval, and p; without ends for one text, without p for too few."""
    texts = change.shape[1]
    mean = change.mean(axis=1)
    if texts < 2:
        return np.stack([mean, *np.full((3, len(mean)), np.nan)])
    error = change.std(axis=1, ddof=1) / np.sqrt(texts)
    half_width = stdtrit(texts - 1, 0.5 + LEVEL / 2) * error
    p_value = np.full(len(mean), np.nan)
    if texts >= FEWEST_PROBLEMS:
        # A head that changes nothing in any text has no spread either: p = 1.
        statistic = np.divide(abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
        p_value = 2 * stdtr(texts - 1, -statistic)
    return np.stack([mean, mean - half_width, mean + half_width, p_value])
