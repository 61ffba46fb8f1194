"""Circuits of equal faithfulness instead of equal size, and the smallest faithful ones."""

import numpy as np

from headscope.errors import InputError
from headscope.results.comparison import CircuitSize
from headscope.results.faithfulness import FaithfulnessCurve, FaithfulnessEstimates, Weights

FAITHFULNESS = 0.8
"""The faithfulness at which circuits of different models or modes are compared."""

LARGEST_CIRCUIT = 0.2
"""Share of the real edges; what needs more of them is hardly a circuit."""


def choose_circuit(
    base: FaithfulnessEstimates,
    post: FaithfulnessEstimates,
    *,
    fraction: float | None = None,
    faithfulness: float = FAITHFULNESS,
) -> CircuitSize:
    """Return the smallest measured size at which the circuits of both models are faithful, up to ``LARGEST_CIRCUIT``.

    If none is, it is the largest of these sizes; if all measured sizes are larger, the smallest.

    Args:
        base: faithfulness of the base's circuits.
        post: faithfulness of the post-trained model's, at the same sizes.
        fraction: a measured size to use at any faithfulness; None chooses it.
        faithfulness: least faithfulness of both circuits, 0 to 1.

    Raises:
        InputError: if ``fraction`` was not measured, or no size was.
    """
    if not base.fractions:
        raise InputError("no circuit's faithfulness was measured; at least one size is needed")
    sizes = [size for size in base.fractions if size <= LARGEST_CIRCUIT] or list(base.fractions[:1])
    if fraction is not None:
        sizes = [fraction]
    for size in sizes:
        before, after = base.at(size), post.at(size)
        if before is None or after is None:
            raise InputError(f"found no circuit of fraction {size}; measured were {list(base.fractions)}")
        choice = CircuitSize(size, before, after, faithfulness, fraction is not None)
        if choice.faithful:
            break
    return choice


def fraction_reaching(curve: FaithfulnessCurve, faithfulness: float, weights: Weights = None) -> float:
    """Return the smallest fraction of the edges whose circuit is at least this faithful.

    It is interpolated log-linearly between measured sizes. Faithfulness is 0 on the patched text and 1 on the clean
    one. The whole graph has faithfulness 1 and counts as measured; if the smallest measured size reaches it, that one
    is returned. ``weights`` of the pairs add up to 1.

    Raises InputError if ``faithfulness`` lies outside (0, 1], or clean and patched text have the same metric.
    """
    if not 0 < faithfulness <= 1:
        raise InputError(f"found faithfulness={faithfulness}; give a value above 0 and up to 1")
    sizes = np.append(curve.fractions, 1.0)
    reached = np.append(curve.normalised(weights), 1.0)
    if not np.isfinite(reached).all():
        raise InputError("the clean and the patched text have the same metric; faithfulness is not defined")
    # The first size that is faithful enough; curves need not rise steadily. The whole graph always is.
    first = int(np.argmax(reached >= faithfulness))
    if first == 0:
        return float(sizes[0])
    low, high = float(reached[first - 1]), float(reached[first])
    # On the scale of logarithms, because sizes are spaced by factors.
    share = (faithfulness - low) / (high - low)
    return float(np.exp((1 - share) * np.log(sizes[first - 1]) + share * np.log(sizes[first])))
