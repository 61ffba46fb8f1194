"""Frozen dataclasses as JSON values and back, by the types of their fields.

All results that are saved as JSON use it, with one policy: arrays are nested lists, heads are names such as
L3H5, NaN is null and infinity a string, as JSON itself has neither.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache

import numpy as np
from jaxtyping import AbstractArray, Bool, Int, Int8

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet

Json = typing.Any
"""What ``json`` reads and writes."""

T = typing.TypeVar("T")

_PLAIN = (str, int, bool, float)
"""Types whose values JSON holds as they are; only a float may be held as something else (``_decode_float``)."""
INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: object) -> Json:
    """Return ``value`` as JSON values: a dataclass becomes an object with one key per field."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type | HeadSet):
        fields = dataclasses.fields(value)
        content = {field.name: to_json(getattr(value, field.name)) for field in fields if field.init}
        return content if not hasattr(value, "json_notes") else value.json_notes() | content
    if isinstance(value, HeadSet):
        return value.names()
    if isinstance(value, HeadId):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value.value if isinstance(value, Enum) else value


def from_json(kind: type[T], data: Json, origin: str) -> T:
    """Return the ``kind`` from which ``to_json`` made ``data``; missing fields take their default.

    Keys that are not fields are ignored, as older versions wrote some. ``origin`` names the file in the message. Raises
    InputError if a field without a default is missing or its value is not of its type.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{origin} holds {_short(data)}; an object with the fields of {kind.__name__} is needed")
    hints = _hints(kind)  # type: ignore[arg-type]
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.init and field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name], f"{field.name} in {origin}")
        elif field.init and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{origin} lacks {field.name}; it is damaged or not headscope's")
    return kind(**values)


@cache
def _hints(kind: Json) -> dict[str, Json]:
    return typing.get_type_hints(kind)


@cache
def _parts(hint: Json) -> tuple[Json, tuple[Json, ...]]:
    """Return ``tuple`` and ``(int, …)`` of ``tuple[int, …]``; a type without parameters and none."""
    outer: Json = hint if typing.get_origin(hint) is None else typing.get_origin(hint)
    return outer, typing.get_args(hint)


def _decode(hint: Json, value: Json, origin: str) -> Json:
    """Return one field's value, of the type ``hint``."""
    if type(value) is hint and hint in _PLAIN:
        return value
    outer, members = _parts(hint)
    if outer in (typing.Union, types.UnionType):
        return _decode_optional(members, value, origin)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return _decode_array(hint, value, origin)
    if hint is HeadSet:
        return HeadSet.of(_decode_sequence(list, (str,), value, origin))
    if hint is HeadId:
        return HeadId.parse(value)
    if hint is float:
        return _decode_float(value, origin)
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, origin)  # type: ignore[arg-type]
    if outer in (tuple, list) and members:
        return _decode_sequence(outer, members, value, origin)
    if isinstance(outer, type) and issubclass(outer, Mapping) and members:
        if not isinstance(value, Mapping):
            raise InputError(f"{origin} is {_short(value)}; an object is needed")
        key, inner = members
        return {key(name): _decode(inner, item, f"{name} in {origin}") for name, item in value.items()}
    if hint in _PLAIN:
        raise InputError(f"{origin} is {_short(value)}; a {hint.__name__} is needed")
    return value


def _decode_optional(members: tuple[Json, ...], value: Json, origin: str) -> Json:
    """Return the value of ``X | None``; other unions hold plain JSON values, which are returned as they are."""
    if value is None and types.NoneType in members:
        return None
    types_left = [member for member in members if member is not types.NoneType]
    return _decode(types_left[0], value, origin) if len(types_left) == 1 else value


def _decode_array(hint: type[AbstractArray], value: Json, origin: str) -> np.ndarray:
    dtype: Json = hint.dtype
    is_bool, is_integer = dtype is Bool, dtype in (Int, Int8)
    try:
        if is_bool or is_integer:
            return np.array(value, dtype=np.bool_ if is_bool else np.int64)
        return np.array(value, dtype=np.float64)  # null becomes NaN, "Infinity" infinity
    except (TypeError, ValueError) as error:
        raise InputError(f"{origin} is no array of numbers: {error}") from None


def _decode_float(value: Json, origin: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str) and value in INFINITIES:
        return INFINITIES[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{origin} is {_short(value)}; a number is needed")
    return float(value)


def _decode_sequence(outer: Json, members: tuple[Json, ...], value: Json, origin: str) -> Json:
    if not isinstance(value, list):
        raise InputError(f"{origin} is {_short(value)}; a list is needed")
    if outer is list or members[-1] is Ellipsis:
        inner = members[0]
        if inner in _PLAIN and all(type(item) is inner for item in value):
            return outer(value)
        return outer(_decode(inner, item, f"{index} in {origin}") for index, item in enumerate(value))
    if len(value) != len(members):
        raise InputError(f"{origin} has {len(value)} elements; {len(members)} are needed")
    return tuple(_decode(inner, item, origin) for inner, item in zip(members, value, strict=True))


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
