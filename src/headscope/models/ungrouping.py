"""Query-head copies of grouped keys and values, without new weights (method section 3, fact 3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headscope.models.access import HeadAccess

# What attention modules call the number of query heads per key/value head, and the number of key/value heads.
_GROUPS, _KV_HEADS = "num_key_value_groups", "num_key_value_heads"


@contextmanager
def ungrouped(access: HeadAccess) -> Iterator[None]:
    """While open, attention takes as many key and value heads as query heads.

    Whoever opens it hands them over: projections' outputs replaced by ``Projection.repeat`` or by heads of one's own.
    """
    changed: list[tuple[Any, str, int]] = []
    try:
        for layer in access.layers if access.groups > 1 else ():
            for name, value in ((_GROUPS, 1), (_KV_HEADS, access.heads)):
                if hasattr(layer.attention, name):
                    changed.append((layer.attention, name, getattr(layer.attention, name)))
                    setattr(layer.attention, name, value)
        yield
    finally:
        for attention, name, value in changed:
            setattr(attention, name, value)
