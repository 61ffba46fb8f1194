"""EAP-IG's graph JSON (hannamw/EAP-IG, ``Graph.to_json`` and ``Graph.from_json``), both ways.

    {"cfg": {"n_layers", "n_heads", "parallel_attn_mlp", "d_model"},
     "nodes": {"a0.h0": {"in_graph"}, …},
     "edges": {"input->a0.h0<q>": {"score", "in_graph"}, …}}

Its binary form (``to_pt``) is a pickle and is never read.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.results.graph import Graph
from headscope.storage import check_keys, read_object, replacing


def write(
    path: str | Path,
    graph: Graph,
    edges: Bool[np.ndarray, "F B"],
    scores: Float[np.ndarray, "F B"],
    d_model: int,
) -> None:
    """Write all real edges, whether they are in the circuit, and their scores.

    d_model: EAP-IG reads it for masks of single neurons, which headscope does not have; 0 if unknown.
    Raises InputError for a grouped graph: EAP-IG has one k and v input per query head.
    """
    if graph.kv_heads is not None:
        raise InputError(
            f"EAP-IG's JSON has a k and a v input per query head, and this graph of {graph} one per key/value head; "
            "export circuit.per_query(), or scores made with kv='query'"
        )
    writing = np.any(edges, axis=1).tolist()
    is_written = dict(zip(graph.sources, writing, strict=True)) | {"logits": True}
    rows, columns = np.nonzero(graph.real)
    values = zip(scores[rows, columns].tolist(), edges[rows, columns].tolist(), strict=True)
    listed = {
        f"{graph.sources[row]}->{graph.destinations[column]}": {"score": score, "in_graph": in_graph}
        for row, column, (score, in_graph) in zip(rows.tolist(), columns.tolist(), values, strict=True)
    }
    content = {
        "cfg": {
            "n_layers": graph.layers,
            "n_heads": graph.heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": d_model,
        },
        "nodes": {name: {"in_graph": in_graph} for name, in_graph in is_written.items()},
        "edges": listed,
    }
    with replacing(Path(path)) as partial:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read(path: str | Path) -> tuple[Graph, Bool[np.ndarray, "F B"], Float[np.ndarray, "F B"], int]:
    """Read the graph, the edges in the circuit, the scores (NaN if the file has none) and d_model (0 if unknown).

    Raises InputError if the file is absent, damaged or not such a graph, names an edge that the graph does not have, or
    leaves out single neurons, which headscope does not support.
    """
    data = read_object(path, "EAP-IG graph")
    check_keys(data, ("cfg", "nodes", "edges"), path)
    for key, value in data.items():
        if not isinstance(value, dict) and key in ("cfg", "nodes", "edges"):
            raise InputError(f"{key} in {path} is a {type(value).__name__}; a JSON object is needed")
    graph = _graph(data["cfg"], str(path))
    _check_whole_nodes(data["nodes"], str(path))
    rows = {name: row for row, name in enumerate(graph.sources)}
    columns = {name: column for column, name in enumerate(graph.destinations)}
    edges = np.zeros(graph.real.shape, dtype=bool)
    scores = np.full(graph.real.shape, np.nan, dtype=np.float32)
    for name, edge in data["edges"].items():
        source, _, destination = name.partition("->")
        row, column = rows.get(source), columns.get(destination)
        if row is None or column is None or not graph.real[row, column]:
            raise InputError(f"edge {name!r} in {path} is not in a graph of {graph}")
        edges[row, column], scores[row, column] = _edge(edge, name, str(path))
    return graph, edges, scores, int(data["cfg"].get("d_model") or 0)


def _graph(cfg: dict[str, Any], path: str) -> Graph:
    check_keys(cfg, ("n_layers", "n_heads"), f"cfg of {path}")
    parallel = bool(cfg.get("parallel_attn_mlp", False))
    return Graph.from_dict({"layers": cfg["n_layers"], "heads": cfg["n_heads"], "parallel": parallel}, path)


def _check_whole_nodes(nodes: dict[str, Any], path: str) -> None:
    for name, node in nodes.items():
        if isinstance(node, dict) and not all(node.get("neurons", [])):
            raise InputError(f"node {name} in {path} leaves out single neurons; circuits here are of whole nodes")


def _edge(edge: Any, name: str, path: str) -> tuple[bool, float]:
    fields = edge if isinstance(edge, dict) else {}
    check_keys(fields, ("in_graph",), f"edge {name} of {path}")
    score = fields.get("score")
    if score is not None and not isinstance(score, int | float):
        raise InputError(f"edge {name} of {path} has the score {score!r}; a number is needed")
    return bool(fields["in_graph"]), math.nan if score is None else score
