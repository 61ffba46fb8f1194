"""What reverting single heads does to the loss: arithmetic on the losses of texts, one text per problem."""

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_contrasts import text_estimates
from headscope.heads import HeadSet
from headscope.measures.multiplicity import q_values
from headscope.operator_names import SharedKv
from headscope.results.head_revert import HeadRevert


def head_revert(
    whole: "Float[np.ndarray, 'text']",
    reverted: "Float[np.ndarray, 'head text']",
    heads: HeadSet,
    shape: tuple[int, int],
    *,
    revert_kv: SharedKv,
    heads_are: str,
    task: str,
    problems: int,
) -> HeadRevert:
    """Return the change of the loss with every head reverted on its own.

    Args:
        whole: loss of the trained model, nats per token. reverted: with one head's weights those of the base.
        heads: reverted one at a time. shape: (layers, heads) of the model.
        revert_kv, heads_are, task, problems: for the record.
    """
    change = text_estimates((reverted - whole).T, heads, shape)
    assert change.p_value is not None
    return HeadRevert(
        task=task,
        heads_are=heads_are,
        revert_kv=revert_kv,
        whole=float(whole.mean()),
        change=change,
        change_q=q_values(change.p_value),
        answers=len(whole),
        problems=problems,
    )
