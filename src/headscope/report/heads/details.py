"""Everything the page *Head* shows, as one JSON value, cut to a budget by rule."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from headscope.plain_text import plain_text
from headscope.report.blocks import HeadDetails
from headscope.report.heads.attention import packed_attention
from headscope.report.heads.edges import DIRECTIONS, EdgePair
from headscope.report.heads.numbers import Quantity, head_quantities
from headscope.report.heads.sets import HeadSets, failure_table, played_roles, role_grids, set_tables
from headscope.report.palette import STATUS
from headscope.report.run_results import RunResults
from headscope.report.sanitising import script_json
from headscope.results.codec import Json
from headscope.results.comparison import Comparison

BUDGET = 2_000_000
"""Bytes of the page for heads, attention apart."""
EDGES = (5, 3, 2, 1)
"""Edges per head and direction, the most first; fewer if they do not fit."""


@dataclass(frozen=True, eq=False)
class _Variant:
    """Facts about a variant before they are cut."""

    comparison: Comparison
    quantities: list[Quantity]
    edges: EdgePair | None

    def packed(self, places: "Int[np.ndarray, ' head']", edges: int) -> dict[str, Json]:
        """Return JSON values of the heads at ``places``, states of all heads."""
        states = np.stack([emergence.status for _, emergence in self.comparison.series]).reshape(len(self.steps), -1)
        listed = None if self.edges is None else self.edges.packed(places.tolist(), edges)
        return {
            "name": plain_text(self.comparison.variant),
            "steps": list(self.steps),
            # A digit per checkpoint, one head after another.
            "states": "".join(map(str, states.T.ravel().tolist())),
            "quantities": [quantity.packed(places) for quantity in self.quantities],
            "edges": listed,
        }

    @property
    def steps(self) -> tuple[int, ...]:
        return self.comparison.steps


def head_details(results: RunResults, budget: int = BUDGET) -> HeadDetails | None:
    """Return the block of the page; None before the first comparison.

    What does not fit into ``budget`` bytes is left out by rule, and the page says so: first weaker edges, from 5 per
    direction down to 1, then numbers and edges of the heads of least importance, half of the heads at a time. States,
    ablations and losses by role are of all heads always.
    """
    if results.head_grid is None:
        return None
    layers, width = results.head_grid
    variants = []
    for comparison in results.comparisons:
        quantities = head_quantities(results, comparison)
        variants.append(_Variant(comparison, quantities, EdgePair.from_results(results, comparison.variant)))
    sets = HeadSets(width)
    frame: dict[str, Json] = {
        "layers": layers,
        "heads": width,
        "statuses": [{"name": mark.name, "glyph": mark.glyph} for _, mark in sorted(STATUS.items())],
        "directions": DIRECTIONS,
        "tables": set_tables(results, sets),
        "failures": failure_table(results, sets),
        "roles": role_grids(results, width),
        "played": played_roles(results, width),
        "sets": sets.packed(),
        **_node_names(variants),
    }
    frame |= _fit_into_budget(frame, variants, budget)
    return HeadDetails(frame | {"attention": packed_attention(results)})


def _node_names(variants: list[_Variant]) -> dict[str, Json]:
    """Return the names of sources and destinations, which are those of every variant."""
    pairs = [variant.edges for variant in variants if variant.edges is not None]
    if not pairs:
        return {"sources": [], "destinations": []}
    return {"sources": pairs[0].graph.sources, "destinations": pairs[0].graph.destinations}


def _fit_into_budget(frame: dict[str, Json], variants: list[_Variant], budget: int) -> dict[str, Json]:
    """Return the numbers of all variants, as many as fit next to the frame, and how many heads and edges they hold."""
    places = _sort_by_importance(variants)
    budget -= len(script_json(frame).encode("utf-8", "backslashreplace"))
    while True:
        for edges in EDGES:
            in_order = np.sort(places)
            packed = [variant.packed(in_order, edges) for variant in variants]
            part: dict[str, Json] = {"places": in_order.tolist(), "edges": edges, "variants": packed}
            if len(script_json(part)) <= budget or (len(places) == 1 and edges == EDGES[-1]):
                return part
        places = places[: (len(places) + 1) // 2]


def _sort_by_importance(variants: list[_Variant]) -> "Int[np.ndarray, ' head']":
    """Return all heads, those first that have the largest importance in any model or change of it."""
    largest = []
    for variant in variants:
        final = variant.comparison.final
        change = final.importance_change.value
        base = np.zeros_like(change) if final.base_importance is None else final.base_importance
        largest.append(np.maximum.reduce([base, base + change, np.abs(change)]).ravel())
    return np.argsort(-np.max(largest, axis=0), kind="stable")
