"""What scaling single heads does to the loss: arithmetic on the losses of texts, one text per problem."""

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_contrasts import text_estimates
from headscope.heads import HeadSet
from headscope.measures.multiplicity import q_values
from headscope.results.head_scaling import HeadScaling


def head_scaling(
    whole: "Float[np.ndarray, 'text']",
    scaled: "Float[np.ndarray, 'factor head text']",
    factors: tuple[float, float],
    heads: HeadSet,
    shape: tuple[int, int],
    *,
    heads_are: str,
    task: str,
    problems: int,
) -> HeadScaling:
    """Return ablation Δ and slope of every head.

    Args:
        whole: loss of the whole model, nats per token. scaled: with one head at factor 0, ``factors[0]`` and
            ``factors[1]``, one below and one above 1.
        factors: see ``scaled``.
        heads: scaled one at a time. shape: (layers, heads) of the model.
        heads_are, task, problems: for the record.
    """
    removed, below, above = scaled
    low, high = factors
    ablation = text_estimates((removed - whole).T, heads, shape)
    slope = text_estimates(((above - below) / (high - low)).T, heads, shape)
    assert ablation.p_value is not None
    assert slope.p_value is not None
    return HeadScaling(
        task=task,
        heads_are=heads_are,
        factors=factors,
        whole=float(whole.mean()),
        ablation=ablation,
        slope=slope,
        ablation_q=q_values(ablation.p_value),
        slope_q=q_values(slope.p_value),
        answers=len(whole),
        problems=problems,
    )
