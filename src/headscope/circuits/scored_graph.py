"""The graph whose edges are scored: with a key and value input per query head or per key/value head."""

from dataclasses import replace

from headscope.errors import InputError, suggestion
from headscope.models import HeadAccess
from headscope.results.graph import Graph

KV = ("query", "group")


def check_kv(kv: str) -> None:
    """Raise InputError unless ``kv`` is one of ``KV``."""
    if kv not in KV:
        raise InputError(f"kv {kv!r} is unknown{suggestion(kv, KV)}")


def scored_graph(access: HeadAccess, kv: str) -> Graph:
    """Return the model's graph; with ``kv="group"`` it has one key and one value input per key/value head.

    Raises InputError if ``kv`` is unknown.
    """
    check_kv(kv)
    return access.graph if kv == "query" else replace(access.graph, kv_heads=access.kv_heads)
