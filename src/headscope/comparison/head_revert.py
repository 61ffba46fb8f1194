"""Change of the loss if single heads are reverted: arithmetic on the losses of texts, one text per problem."""

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_contrasts import text_estimates
from headscope.comparison.head_sweep import HeadSweep
from headscope.measures.multiplicity import q_values
from headscope.operator_names import SharedKv
from headscope.results.head_revert import HeadRevert


def head_revert(
    whole: "Float[np.ndarray, 'text']",
    reverted: "Float[np.ndarray, 'head text']",
    sweep: HeadSweep,
    *,
    revert_kv: SharedKv,
) -> HeadRevert:
    """Return the change of the loss with every head reverted on its own, with intervals and q-values over the texts.

    Args:
        whole: loss of the trained model, nats per token.
        reverted: loss with the base's weights in one head.
        sweep: the reverted heads.
        revert_kv: what was done with key/value weights that several heads share; recorded in the result.
    """
    change = text_estimates((reverted - whole).T, sweep)
    assert change.p_value is not None
    return HeadRevert(
        task=sweep.task,
        heads_are=sweep.heads_are,
        revert_kv=revert_kv,
        whole=float(whole.mean()),
        change=change,
        change_q=q_values(change.p_value),
        answers=len(whole),
        problems=sweep.problems,
    )
