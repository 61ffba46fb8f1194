"""Circuits of equal faithfulness instead of equal size."""

import numpy as np

from headscope.errors import InputError
from headscope.results.faithfulness import FaithfulnessCurve, Weights


def fraction_reaching(curve: FaithfulnessCurve, faithfulness: float, weights: Weights = None) -> float:
    """The smallest fraction of the edges whose circuit is at least this faithful, log-linear between measured sizes.

    0 is like the patched text, 1 like the clean one. The whole graph has faithfulness 1 and counts as measured; where
    the smallest measured size already reaches it, that one is returned. ``weights``, adding up to 1, weigh the pairs.

    Raises InputError where ``faithfulness`` lies outside (0, 1], or clean and patched text have the same metric.
    """
    if not 0 < faithfulness <= 1:
        raise InputError(f"found faithfulness={faithfulness}; give a value above 0 and up to 1")
    sizes, reached = np.append(curve.fractions, 1.0), np.append(curve.normalised(weights), 1.0)
    if not np.isfinite(reached).all():
        raise InputError("the clean and the patched text have the same metric; faithfulness is not defined")
    first = int(np.argmax(reached >= faithfulness))
    if first == 0:
        return float(sizes[0])
    low, high = float(reached[first - 1]), float(reached[first])
    share = (faithfulness - low) / (high - low)
    return float(np.exp((1 - share) * np.log(sizes[first - 1]) + share * np.log(sizes[first])))
