"""Files of a circuit graph for other programs.

- ``eap-json``: EAP-IG's own (``results.eap_json``), all real edges of the variant with ``in_graph``.
- ``dot``: Graphviz. ``graphml``: networkx, Gephi, Cytoscape, igraph. Both hold the edges of either circuit, with score
  and sign in both models, port, layer, head and status (kept, born, lost) as attributes.
- ``neuronpedia``: an attribution graph as neuronpedia.org uploads it (its ``graph-schema.json``, version 1.0.0). That
  format is made for features at token positions. Heads and MLPs of a circuit stand for all positions, so that every
  node has ``ctx_idx`` 0 of a prompt of one made-up token; an edge's three ports are one link, whose weight is their sum
  (scores add up to first order) and which lists them under ``ports``; lost edges are left out, because the format has
  one graph; there are no activations, no influence and no feature pages. Feature types are ``attention head`` and
  ``mlp``, names of our own. The logits' label is empty: the page takes a probability out of one that is not.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from headscope import __version__
from headscope.plain_text import plain_line
from headscope.results import eap_json
from headscope.results.circuit_graph import BORN, LOST, CircuitGraph, Edge, Node
from headscope.results.colours import BLUE, GREY, VERMILION
from headscope.storage import write_text

POSITIONS = "[all positions]"
"""The one token of a prompt without positions."""

_COLOURS = {"+": BLUE, "-": VERMILION, "0": GREY}
_STYLES = {"q": "solid", "k": "dashed", "v": "dotted", None: "solid"}
_FILLS = {BORN: "#cfe3f2", LOST: "#f7d9c4"}
_GRAPHML = "http://graphml.graphdrawing.org/xmlns"


def write_dot(circuit: CircuitGraph, path: Path) -> None:
    """Write Graphviz: inputs at the bottom, a row per layer; sign as colour, port as style, |score| as width."""
    largest = max((abs(edge.score) for edge in circuit.listed), default=0.0) or 1.0
    lines = [f"digraph {_quote(circuit.title)} {{"]
    lines.append(f"  graph {_dot_attributes({'rankdir': 'BT', 'label': circuit.title, **circuit.facts})};")
    lines.append(f"  node {_dot_attributes({'shape': 'box', 'style': 'filled', 'fillcolor': '#ffffff'})};")
    for node in circuit.nodes:
        fill = {"fillcolor": _FILLS[node.status]} if node.status in _FILLS else {}
        lines.append(f"  {_quote(node.name)} {_dot_attributes(_node_attributes(node) | fill)};")
    for row in {(node.kind, node.layer) for node in circuit.nodes}:
        names = "; ".join(_quote(node.name) for node in circuit.nodes if (node.kind, node.layer) == row)
        lines.append(f"  {{ rank=same; {names}; }}")
    for edge in circuit.listed:
        look = {"color": _COLOURS[edge.sign], "style": _STYLES[edge.port]}
        width = {"penwidth": round(0.5 + 4 * abs(edge.score) / largest, 2)}
        attributes = _dot_attributes(_edge_attributes(edge) | look | width)
        lines.append(f"  {_quote(edge.source)} -> {_quote(edge.destination)} {attributes};")
    write_text(path, "\n".join([*lines, "}"]) + "\n")


def write_graphml(circuit: CircuitGraph, path: Path) -> None:
    """Write GraphML with typed attributes; edges through several ports of one head are parallel edges."""
    root = ElementTree.Element("graphml", {"xmlns": _GRAPHML})
    graph = ElementTree.Element("graph", {"id": "circuit", "edgedefault": "directed"})
    keys: dict[tuple[str, str], str] = {}
    _add_data(graph, "graph", {"title": circuit.title, **circuit.facts}, keys)
    for node in circuit.nodes:
        element = ElementTree.SubElement(graph, "node", {"id": node.name})
        _add_data(element, "node", _node_attributes(node), keys)
    for number, edge in enumerate(circuit.listed):
        ends = {"id": f"e{number}", "source": edge.source, "target": edge.destination}
        _add_data(ElementTree.SubElement(graph, "edge", ends), "edge", _edge_attributes(edge), keys)
    for (owner, name), kind in keys.items():
        attributes = {"id": f"{owner}.{name}", "for": owner, "attr.name": name, "attr.type": kind}
        ElementTree.SubElement(root, "key", attributes)
    root.append(graph)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def write_neuronpedia(circuit: CircuitGraph, path: Path) -> None:
    """Write an attribution graph; the module docstring says what of a circuit does not fit the format."""
    nodes = [node for node in circuit.nodes if node.status != LOST]
    ids = {node.name: _neuronpedia_id(node, circuit.graph.heads) for node in nodes}
    links = []
    for source, destination, edges in circuit.links():
        ports = {edge.port or "in": _present(_edge_attributes(edge), "source", "port") for edge in edges}
        weight = sum(edge.score for edge in edges)
        links.append({"source": ids[source], "target": ids[destination], "weight": weight, "ports": ports})
    generator = {"name": "headscope", "version": __version__}
    info = {"description": f"{circuit.title}. {_FIT}", "generator": generator}
    metadata = {
        "slug": "-".join("".join(c if c.isalnum() else " " for c in circuit.title.lower()).split()),
        "scan": str(circuit.facts.get("model", "")),
        "prompt_tokens": [POSITIONS],
        "prompt": POSITIONS,
        "info": info,
        "generation_settings": circuit.facts,
    }
    state = {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""}
    listed = [_neuronpedia_node(node, ids[node.name]) for node in nodes]
    content = {"metadata": metadata, "qParams": state, "nodes": listed, "links": links}
    write_text(path, json.dumps(content, allow_nan=False) + "\n")


_FIT = (
    "Nodes are whole attention heads and MLPs, summed over all positions: ctx_idx 0 is no token. Weights are mean "
    "signed EAP scores, summed over a head's q, k and v inputs (ports lists them). No activations, influence or "
    "feature pages."
)


def write_eap_json(circuit: CircuitGraph, path: Path) -> None:
    """Write EAP-IG's graph JSON: the variant's scores and circuit; the format has no place for another model's."""
    eap_json.write(path, circuit.graph, circuit.edges, circuit.scores, int(circuit.facts.get("d_model", 0)))


FORMATS: Mapping[str, Callable[[CircuitGraph, Path], None]] = {
    "eap-json": write_eap_json,
    "dot": write_dot,
    "graphml": write_graphml,
    "neuronpedia": write_neuronpedia,
}


def _node_attributes(node: Node) -> dict[str, Any]:
    """Return the attributes of a node that are not None."""
    attributes = {"label": node.label, "kind": node.kind, "layer": node.layer, "head": node.head}
    return _present(attributes | {"status": node.status})


def _edge_attributes(edge: Edge) -> dict[str, Any]:
    attributes = {"port": edge.port, "score": edge.score, "sign": edge.sign}
    return _present(attributes | {"base_score": edge.base_score, "status": edge.status})


def _present(attributes: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None and name not in without}


def _quote(value: object) -> str:
    """Return a quoted identifier of DOT, which has numbers without exponent alone: text can hold them all."""
    text = plain_line(str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _dot_attributes(attributes: Mapping[str, Any]) -> str:
    return f"[{', '.join(f'{name}={_quote(value)}' for name, value in attributes.items())}]"


def _add_data(
    element: ElementTree.Element, owner: str, attributes: Mapping[str, Any], keys: dict[tuple[str, str], str]
) -> None:
    """Add attributes to a GraphML element and note the type of each."""
    for name, value in attributes.items():
        kind = {int: "int", float: "double"}.get(type(value), "string")
        keys.setdefault((owner, name), kind)
        ElementTree.SubElement(element, "data", {"key": f"{owner}.{name}"}).text = plain_line(str(value))


def _neuronpedia_id(node: Node, heads: int) -> str:
    """Return layer, number and position, as circuit-tracer names nodes; a layer's MLP comes after its heads."""
    if node.kind == "input":
        return "E_0_0"
    number = {"head": node.head, "mlp": heads, "logits": 0}[node.kind]
    # circuit-tracer leaves a layer free between the last and the logits.
    return f"{node.layer + 1 if node.kind == 'logits' else node.layer}_{number}_0"


def _neuronpedia_node(node: Node, node_id: str) -> dict[str, Any]:
    kinds = {"input": "embedding", "head": "attention head", "mlp": "mlp", "logits": "logit"}
    layer, number, _ = node_id.split("_")
    return {
        "node_id": node_id,
        "feature": int(number),
        "layer": layer,
        "ctx_idx": 0,
        "feature_type": kinds[node.kind],
        "jsNodeId": f"{layer}_{number}-0",
        "clerp": "" if node.kind == "logits" else node.label,
        "influence": None,
        "activation": None,
    } | _present({"head": node.head, "status": node.status})
