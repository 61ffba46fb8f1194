"""Prune a circuit to a fixed point (method section 4); matrices along leading axes (resamples) one by one."""

import numpy as np
from jaxtyping import Bool

from headscope.results.graph import Graph


def prune(graph: Graph, edges: Bool[np.ndarray, "*batch F B"]) -> Bool[np.ndarray, "*batch F B"]:
    """Remove edges of nodes without an incoming or an outgoing edge until none is left to remove.

    The input needs no incoming edge and the logits no outgoing one. A head has an incoming edge if
    its q, k or v has one; the k or v input of a group belongs to every query head of the group.
    """
    pruned = edges.copy()  # contiguous, so that the reshape below is a view and each mask can be changed in place
    for mask in pruned.reshape(-1, *edges.shape[-2:]):
        while _drop_loose_ends(graph, mask):
            pass
    return pruned


def _drop_loose_ends(graph: Graph, mask: Bool[np.ndarray, "F B"]) -> bool:
    """Remove the edges of loose nodes from ``mask`` in place; return whether there were any."""
    has_outgoing, is_entered = np.any(mask, axis=1), np.any(mask, axis=0)
    has_incoming = np.zeros(len(has_outgoing) + 1, dtype=bool)
    has_incoming[graph.owner[is_entered[graph.column]]] = True
    has_incoming[0] = True  # the input
    alive = np.append(has_outgoing & has_incoming[:-1], True)  # the logits own a destination and are no source
    leads_on = np.zeros_like(is_entered)
    leads_on[graph.column[alive[graph.owner]]] = True
    loose_rows, loose_columns = has_outgoing & ~alive[:-1], is_entered & ~leads_on
    mask[loose_rows] = False
    mask[:, loose_columns] = False
    return bool(loose_rows.any() or loose_columns.any())
