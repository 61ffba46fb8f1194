"""Select a circuit from edge scores: keep the strongest edges up to a size and prune loose ends (method section 4)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from headscope.errors import InputError
from headscope.measures.selection import above_threshold, greedy, top_fraction, top_mass, top_n
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.pruning import prune

# A rule's size is a count of edges, a share or a threshold; ``select`` checks that counts are whole numbers.
_RULES: dict[str, Callable[..., Bool[np.ndarray, "F B"]]] = {
    "n": top_n,
    "fraction": top_fraction,
    "threshold": above_threshold,
    "mass": top_mass,
    "greedy": greedy,
}


def select(
    scores: EdgeScores,
    *,
    n: int | None = None,
    fraction: float | None = None,
    threshold: float | None = None,
    mass: float | None = None,
    greedy: int | None = None,
    aggregate: str = "abs",
) -> Circuit:
    """Return the circuit of the edges with the largest |score|, pruned of loose ends; give exactly one size.

    Args:
        scores: edge scores of one model.
        n: number of edges before pruning.
        fraction: share of the real edges.
        threshold: smallest |score| of an edge, in the metric's unit.
        mass: share of the total |score|.
        greedy: number of edges, chosen by the greedy search of EAP-IG's code (arXiv 2403.17806): from the logits
            backwards, always the strongest edge into a node that is in the circuit.
        aggregate: ``abs`` ranks by the mean of |score| over pairs (the paper), ``signed`` by |mean of the signed score|
            (EAP-IG's code).

    Raises:
        InputError: if the scores are not of edges, not exactly one size is given, or it lies outside its range.
    """
    if not isinstance(scores, EdgeScores):
        raise InputError(f"scores are {type(scores).__name__}; circuits are chosen by EdgeScores, as attribute returns")
    sizes = {"n": n, "fraction": fraction, "threshold": threshold, "mass": mass, "greedy": greedy}
    given_sizes = {rule: size for rule, size in sizes.items() if size is not None}
    if len(given_sizes) != 1:
        raise InputError(
            f"found {len(given_sizes)} sizes ({', '.join(given_sizes) or 'none'}); "
            f"give exactly one of {', '.join(sizes)}"
        )
    if aggregate not in ("abs", "signed"):
        raise InputError(f"aggregate {aggregate!r} is unknown; 'abs' and 'signed' are allowed")
    ((rule, size),) = given_sizes.items()
    if rule in ("n", "greedy") and (isinstance(size, bool) or not isinstance(size, int | np.integer)):
        raise InputError(f"found {rule}={size!r}; give a whole number of edges")
    values = scores.edges_abs if aggregate == "abs" else scores.edges
    edges = prune(scores.graph, _RULES[rule](scores.graph, values, size))
    settings = {"rule": rule, "size": size, "aggregate": aggregate, "scores": scores.settings}
    return Circuit(scores.graph, edges, settings)
