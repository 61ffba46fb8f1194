"""Circuit edges: the strongest edges of base and variant, and which of them training added or dropped."""

from collections.abc import Sequence

import numpy as np

from headscope.report.circuit_pairs import MOST_EDGES, CircuitPair
from headscope.results.table import Row, Table

ROWS = 100
"""Per variant; on the page the script shows all of the view that was chosen."""
ALL_ROWS = 2 * MOST_EDGES
"""No fewer than a pair of circuits has."""
_CHANGES = {(True, True): "kept", (False, True): "born", (True, False): "lost"}


def circuit_edges(pairs: Sequence[CircuitPair], rows: int = ROWS) -> Table:
    """Return the edges of each variant's circuits at the size in which heads are counted, strongest first."""
    table = [row for pair in pairs for row in _pair_rows(pair)[:rows]]
    caption = (
        "Edges in the circuit of the base, of the variant, or of both, by the larger of their sizes. Score: how much "
        "corrupting the edge raises the loss, mean over pairs, estimated along a path. Born: in the variant's circuit "
        "alone; lost: in the base's alone."
    )
    return Table("circuit-edges", tuple(table), caption)


def _pair_rows(pair: CircuitPair) -> list[Row]:
    in_base, in_post = pair.circuit(pair.base_rank, pair.size), pair.circuit(pair.post_rank, pair.size)
    names = list(pair.edge_names())
    sizes = np.maximum(np.abs(pair.base_score), np.abs(pair.post_score))
    rows: list[Row] = []
    for edge in np.argsort(-sizes, kind="stable").tolist():
        membership = bool(in_base[edge]), bool(in_post[edge])
        if not any(membership):
            continue
        source, destination, port = names[edge]
        row: Row = {
            "variant": pair.variant,
            "edge": f"{source} → {destination}",
            "port": port,
            "score base": float(pair.base_score[edge]),
            "score variant": float(pair.post_score[edge]),
            "change": _CHANGES[membership],
        }
        rows.append(row)
    return rows


def truncation(pair: CircuitPair) -> str:
    """Return a sentence on circuits that are larger than what the page holds; empty if they are not."""
    if pair.size <= MOST_EDGES:
        return ""
    return (
        f"{pair.variant}: its circuits have {pair.size:,} of {int(pair.graph.real.sum()):,} edges; the strongest "
        f"{MOST_EDGES:,} of each model are here."
    )
