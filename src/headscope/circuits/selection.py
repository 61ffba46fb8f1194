"""From edge scores to a circuit: choose a size, keep the strongest edges, prune to a fixed point (method
section 4)."""

from typing import Any

import numpy as np

from headscope.errors import InputError
from headscope.measures.selection import above_threshold, greedy, prune, top_fraction, top_mass, top_n
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores

_RULES = {"n": top_n, "fraction": top_fraction, "threshold": above_threshold, "mass": top_mass, "greedy": greedy}


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
    """The pruned circuit of the strongest edges, of a grouped graph too; exactly one size is given.

    n: number of edges before pruning. fraction: share of the real edges. threshold: least |score|. mass: share of
        the total |score|. greedy: number of edges of EAP-IG's search from the logits up.
    aggregate: rank by the mean of |score| over pairs (the paper), or by |mean of the signed score| (EAP-IG's
        code).
    Raises InputError where not exactly one size is given, or it lies outside its range.
    """
    sizes: dict[str, Any] = {
        "n": n,
        "fraction": fraction,
        "threshold": threshold,
        "mass": mass,
        "greedy": greedy,
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    if len(given) != 1:
        raise InputError(
            f"found {len(given)} sizes ({', '.join(given) or 'none'}); give exactly one of {', '.join(sizes)}"
        )
    if aggregate not in ("abs", "signed"):
        raise InputError(f"aggregate {aggregate!r} is unknown; 'abs' and 'signed' are allowed")
    ((name, size),) = given.items()
    if name in ("n", "greedy") and (isinstance(size, bool) or not isinstance(size, int | np.integer)):
        raise InputError(f"found {name}={size!r}; give a whole number of edges")
    values = scores.edges_abs if aggregate == "abs" else scores.edges
    edges = prune(scores.graph, _RULES[name](scores.graph, values, size))
    settings = {"rule": name, "size": size, "aggregate": aggregate, "scores": scores.settings}
    return Circuit(scores.graph, edges, settings)
