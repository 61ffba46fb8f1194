"""Results as rows for a DataFrame, by the types of their fields.

A class has one row unless a class variable says otherwise:

- ``rows = "layer head"``: the axes of its arrays, one row per element; every array with exactly these axes is a column,
  also those of dataclasses inside it. A field ``heads`` names the elements of an axis ``head``; of dataclasses their
  fields are columns too.
- ``rows = {"fraction": "fractions", "": "operators"}``: columns from fields that are sequences of equal length; the
  dataclasses of a field under ``""`` have their own fields as columns.
- ``derived = ("control_mean",)``: properties that are columns too.

All other fields are repeated in every row: numbers, texts, head sets as text, an estimate as six columns
(``x``, ``x_low``, ``x_high``, ``x_n``, ``x_method``, ``x_seed``), what is inside another dataclass or a mapping under
``outer_inner``. None gives no column. Other sequences and arrays, and ``settings``, are left out.
"""

import dataclasses
import importlib
import pkgutil
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import AbstractArray

from headscope.heads import HeadId, HeadSet
from headscope.results.estimate import Estimate
from headscope.storage import Result

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""One row: a plain value by column."""

SAVED_AS = {"ablated": "samples", "ablated_shard": "samples", "samples_shard": "samples", "exchanged": "pairs"}
"""Kinds of units that hold results of another kind."""


@cache
def result_classes() -> tuple[type[Result], ...]:
    """Return the classes of all results that are saved: each names its kind."""
    import headscope.pairs
    import headscope.results

    for module in pkgutil.iter_modules(headscope.results.__path__):
        importlib.import_module(f"headscope.results.{module.name}")
    return tuple(kind for kind in _subclasses(Result) if "kind" in vars(kind) and not _is_replaced(kind))


def _is_replaced(kind: type[Result]) -> bool:
    # A dataclass with slots is a second class; the first one stays a subclass until garbage is collected.
    return getattr(sys.modules.get(kind.__module__), kind.__name__, kind) is not kind


@cache
def result_kinds() -> dict[str, type[Result]]:
    """Return the class of every kind of result, by its name."""
    kinds: dict[str, type[Result]] = {}
    for kind in result_classes():
        # Of two kinds that share units, the one that is a single JSON file sums the other up.
        if kind.kind not in kinds or hasattr(kind, "file"):
            kinds[kind.kind] = kind
    return kinds


def _subclasses(kind: type[Result]) -> Iterator[type[Result]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _subclasses(inner)


def frame(result: Any) -> "pd.DataFrame":
    """Return one result as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(records(result))


def records(result: Any) -> list[Record]:
    """Return the rows of a result, plain values by column."""
    rows: str | Mapping[str, str] = getattr(type(result), "rows", "")
    facts = _facts(result)
    if isinstance(rows, Mapping):
        return [facts | item for item in _items(result, rows)]
    return [facts | item for item in _elements(result, tuple(rows.split()))] if rows else [facts]


def _facts(result: Any, prefix: str = "") -> Record:
    """Return the columns that are the same in every row."""
    facts: Record = {}
    names = [field.name for field in dataclasses.fields(result) if field.name != "settings"]
    for name in (*names, *getattr(type(result), "derived", ())):
        facts |= flatten(f"{prefix}{name}", getattr(result, name))
    return facts


def flatten(name: str, value: Any) -> Record:
    """Return a value as columns; none for None, arrays and sequences."""
    if isinstance(value, Estimate):
        inner = dataclasses.asdict(value)
        return {name if part == "value" else f"{name}_{part}": number for part, number in inner.items()}
    if isinstance(value, HeadSet):
        return {name: " ".join(value.names())}
    if isinstance(value, HeadId):
        return {name: str(value)}
    if dataclasses.is_dataclass(value):
        return _facts(value, f"{name}_")
    if isinstance(value, Mapping):
        columns: Record = {}
        for key, inner in value.items():
            columns |= flatten(f"{name}_{key}", inner)
        return columns
    if isinstance(value, Enum):
        return {name: value.value}
    if isinstance(value, np.generic):
        return {name: value.item()}
    return {name: value} if isinstance(value, str | int | float) else {}


def _items(result: Any, rows: Mapping[str, str]) -> list[Record]:
    """Return one row per element of fields that go together."""
    columns = {column: getattr(result, field) for column, field in rows.items()}
    table = columns.get("")
    if table is not None and hasattr(table, "to_dict"):
        listed: list[Record] = table.to_dict("records")
        return listed
    filled_columns = {column: values for column, values in columns.items() if values is not None}
    items = []
    for values in zip(*filled_columns.values(), strict=True):
        item: Record = {}
        for column, value in zip(filled_columns, values, strict=True):
            inner = _facts(value) if column == "" else flatten(column, value)
            # The tokens of a text are one value of its row.
            item |= {column: value.tolist()} if isinstance(value, np.ndarray) else inner
        items.append(item)
    return items


def _elements(result: Any, axes: tuple[str, ...]) -> list[Record]:
    """Return one row per element of all arrays with these axes."""
    arrays = dict(_arrays(result, axes))
    shape = next(iter(arrays.values())).shape if arrays else ()
    is_grid = axes == ("layer", "head")
    labels = [
        range(size) if is_grid else _axis_labels(result, axis, size) for axis, size in zip(axes, shape, strict=False)
    ]
    elements = []
    for index in np.ndindex(shape) if arrays else ():
        place: Record = {}
        for axis, names, number in zip(axes, labels, index, strict=True):
            place |= _place(axis, names[number], number)
        if is_grid:
            place["name"] = str(HeadId(*index))
        elements.append(place | {column: array[index].item() for column, array in arrays.items()})
    return elements


def _place(axis: str, label: Any, number: int) -> Record:
    """Return where an element lies on an axis: its name there; its number and fields if it is a dataclass."""
    columns = flatten(axis, label)
    return {axis: number} | columns if dataclasses.is_dataclass(label) else columns


def _axis_labels(result: Any, axis: str, size: int) -> Sequence[Any]:
    """Return the names of an axis' elements, ``roles`` of the axis ``role``; their numbers if there are none."""
    names = getattr(result, f"{axis}s", None)
    listed = names.names() if isinstance(names, HeadSet) else names
    return listed if isinstance(listed, tuple | list) and len(listed) == size else range(size)


def _arrays(result: Any, axes: tuple[str, ...], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays with these axes, by column."""
    kind: Any = type(result)
    hints = _hints(kind)
    for name, hint in hints.items():
        value = getattr(result, name)
        if isinstance(value, np.ndarray):
            if axes in _axes_of(hint):
                yield f"{prefix}{name}", value
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if dataclasses.is_dataclass(inner):
                    yield from _arrays(inner, axes, f"{prefix}{name}_{key}_")
        elif dataclasses.is_dataclass(value):
            yield from _arrays(value, axes, f"{prefix}{name}_")


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of fields and derived properties."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    for name in getattr(kind, "derived", ()):
        getter: Any = getattr(kind, name)
        fields[name] = typing.get_type_hints(getattr(getter, "fget", None) or getter.func).get("return")
    return fields


def _axes_of(hint: Any) -> list[tuple[str, ...]]:
    """Return the axes of an array's type, or of each array in a union."""
    members = typing.get_args(hint) or (hint,)
    arrays = [member for member in members if isinstance(member, type) and issubclass(member, AbstractArray)]
    return [tuple(array.dim_str.split()) for array in arrays]
