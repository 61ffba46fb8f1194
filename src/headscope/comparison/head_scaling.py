"""Change of the loss if single heads are scaled: arithmetic on the losses of texts, one text per problem."""

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_contrasts import text_estimates
from headscope.comparison.head_sweep import HeadSweep
from headscope.measures.multiplicity import q_values
from headscope.results.head_scaling import HeadScaling


def head_scaling(
    whole: "Float[np.ndarray, 'text']",
    scaled: "Float[np.ndarray, 'factor head text']",
    factors: tuple[float, float],
    sweep: HeadSweep,
) -> HeadScaling:
    """Return ablation Δ and slope of every head, with intervals and q-values over the texts.

    Args:
        whole: loss of the whole model, nats per token.
        scaled: loss with one head scaled by 0, by ``factors[0]`` and by ``factors[1]``.
        factors: one below and one above 1; the slope is the difference quotient between them, nats per token.
        sweep: the scaled heads.
    """
    removed, below, above = scaled
    low, high = factors
    ablation = text_estimates((removed - whole).T, sweep)
    slope = text_estimates(((above - below) / (high - low)).T, sweep)
    assert ablation.p_value is not None
    assert slope.p_value is not None
    return HeadScaling(
        task=sweep.task,
        heads_are=sweep.heads_are,
        factors=factors,
        whole=float(whole.mean()),
        ablation=ablation,
        slope=slope,
        ablation_q=q_values(ablation.p_value),
        slope_q=q_values(slope.p_value),
        answers=len(whole),
        problems=sweep.problems,
    )
