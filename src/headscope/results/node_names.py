"""Names of a graph's nodes for readers: ``input``, ``L2H3``, ``MLP 2``, ``logits``.

Files for other programs identify nodes as EAP-IG does (``a2.h3``, ``m2``; ``Graph.sources``) and carry these names as
labels. The page's script makes the same ones from a node's number (``circuit-data.js``), which a test compares.
"""

import re

from headscope.results.graph import PORTS, Graph

LOGITS = "logits"
_ATTENTION = re.compile(r"a(\d+)\.(h|kv)(\d+)(?:<(\w)>)?")


def source_label(graph: Graph, row: int) -> str:
    """Return the name of a source; of row F, which is no source, that of the logits."""
    if row == 0:
        return "input"
    if row == len(graph.sources):
        return LOGITS
    layer, head = divmod(row - 1, graph.heads + 1)
    return f"MLP {layer}" if head == graph.heads else f"L{layer}H{head}"


def destination_label(graph: Graph, column: int) -> tuple[str, str]:
    """Return the node that reads and its port: ``q``, ``k``, ``v``, or nothing for MLPs and the logits.

    The heads of a group share k and v: ``L4H2-3``, ``k``.
    """
    if column == len(graph.destinations) - 1:
        return LOGITS, ""
    layer, place = divmod(column, graph.attention_inputs + 1)
    for port in PORTS:
        readers = graph.readers(port)
        if place < readers:
            first = place * graph.heads // readers
            last = first + graph.heads // readers - 1
            return f"L{layer}H{first}" + (f"-{last}" if last > first else ""), port
        place -= readers
    return source_label(graph, graph.mlp_source(layer)), ""


def edge_words(name: str) -> str:
    """Return what people read for an edge that a file names as EAP-IG does: "m0->a2.h3<k>" is "MLP 0 → L2H3 k"."""
    return " → ".join(map(_node_words, name.split("->")))


def _node_words(name: str) -> str:
    match = _ATTENTION.fullmatch(name)
    if match is None:
        return re.sub(r"^m(\d+)$", r"MLP \1", name)
    layer, kind, place, port = match.groups(default="")
    node = f"L{layer}H{place}" if kind == "h" else f"layer {layer} group {place}"
    return f"{node} {port}".rstrip()
