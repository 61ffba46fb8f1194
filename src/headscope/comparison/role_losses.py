"""The roles of tokens that need each head: arithmetic on losses summed by role, one text per problem.

A text's loss in a role is the mean over its tokens in that role, so that long and short answers have the same weight
and roles can be compared. A change is tested by Student's t over the texts that have the role, two-sided, and adjusted
over all heads and roles together (Benjamini and Hochberg).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.head_contrasts import t_interval
from headscope.comparison.head_sweep import HeadSweep
from headscope.measures.intervals import PROBLEM_T
from headscope.measures.multiplicity import q_values
from headscope.results.role_losses import RoleLosses
from headscope.results.traces import Reader


def role_losses(
    sums: "Float[np.ndarray, 'edit text role']",
    tokens: "Int[np.ndarray, 'text role']",
    roles: Sequence[str],
    sweep: HeadSweep,
    *,
    reader: Reader,
) -> RoleLosses:
    """Return the change of each role's loss when each head is removed, nats per token.

    Args:
        sums: nats summed over a text's tokens of a role; the first edit is the whole model, then one head of ``sweep``
            is removed at a time.
        tokens: how many tokens of each role a text has.
        roles: names of the roles.
        sweep: the removed heads.
        reader: what assigned the roles; recorded in the result.
    """
    role_indices = np.flatnonzero(tokens.sum(axis=0)).tolist()
    shape = (len(sweep.heads), len(role_indices))
    whole, change, low, high, p_value = np.zeros(len(role_indices)), *(np.full(shape, np.nan) for _ in range(4))
    for column, role in enumerate(role_indices):
        has_role = tokens[:, role] > 0
        losses = sums[:, has_role, role] / tokens[has_role, role]  # [edit, text], nats per token
        whole[column] = losses[0].mean()
        changes = losses[1:] - losses[0]
        mean = changes.mean(axis=1)
        low[:, column], high[:, column], tested = t_interval(mean, [(changes - mean[:, None]).T])
        change[:, column] = mean
        if changes.shape[1] >= FEWEST_PROBLEMS:
            p_value[:, column] = tested
    return RoleLosses(
        task=sweep.task,
        reader=reader,
        heads=sweep.heads,
        heads_are=sweep.heads_are,
        roles=tuple(roles[role] for role in role_indices),
        tokens=tokens[:, role_indices].sum(axis=0),
        texts=(tokens[:, role_indices] > 0).sum(axis=0),
        whole=whole,
        change=change,
        low=low,
        high=high,
        q_value=q_values(p_value),
        answers=len(tokens),
        problems=sweep.problems,
        method=PROBLEM_T,
    )
