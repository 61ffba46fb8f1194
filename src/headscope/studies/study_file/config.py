"""The base of every config a user writes: frozen, unknown keys refused with the nearest valid one."""

import difflib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from headscope.comparison import Resampling, choose_circuit
from headscope.errors import ManyInputsError, suggestion
from headscope.results.comparison import CircuitSize
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.graph import Graph
from headscope.training import TRAINING_METHODS

Model = TypeVar("Model", bound=BaseModel)
_MOST_ERRORS = 100
"""Errors of one study that are looked at; the next run tells the others."""


class Config(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OneOrMore:
    """An annotation by which one text is read as a list of it: ``heads: emergent`` is ``heads: [emergent]``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate a text as the list of it."""
        return core_schema.no_info_before_validator_function(_as_list, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow either."""
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def insert_preset(data: Any, presets: Mapping[str, dict[str, Any]]) -> Any:
    """Return a section's plain data with its preset written out; keys next to the preset win."""
    preset = data.get("preset") if isinstance(data, dict) else None
    return presets[preset] | data if isinstance(preset, str) and preset in presets else data


class BootstrapConfig(Config):
    """Settings of how pairs are resampled and which edges a circuit may hold.

    resamples, seed: of the pairs' bootstrap. tau: the least |score| of an edge in a circuit.
    """

    resamples: int
    seed: int
    tau: float = Field(default=0.0, exclude_if=lambda tau: tau == 0)

    def resampling(self, fraction: float) -> Resampling:
        """Return it as the comparison takes it, with circuits of ``fraction`` of the real edges."""
        return Resampling(fraction, self.resamples, self.seed, tau=self.tau)


class CircuitConfig(BootstrapConfig):
    """Settings of how large a circuit is and how pairs are resampled.

    fraction: of real edges in it, None for the smallest that is faithful. edges: their number instead.
    faithfulness: that a circuit should have.
    """

    fraction: float | None
    edges: int | None
    faithfulness: float

    def choose(self, base: FaithfulnessEstimates, post: FaithfulnessEstimates, graph: Graph) -> CircuitSize:
        """Return the size of the circuits, from how faithful those of both models are."""
        fraction = self.fraction if self.edges is None else graph.edge_share(self.edges)
        return choose_circuit(base, post, fraction=fraction, faithfulness=self.faithfulness)


def validate_config(kind: type[Model], data: Any, origin: str, faults: Sequence[str] = ()) -> Model:
    """Return ``data`` as a ``kind``.

    Raises InputError, naming ``origin``, with a sentence on everything wrong in it, after the ``faults`` known already.
    """
    sentences = list(faults)
    try:
        config = kind.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)[:_MOST_ERRORS]
        causes = sorted(_without_consequences(_drop_other_members(details)), key=details.index)
        sentences += dict.fromkeys(_sentence(kind, detail) for detail in causes)
    if sentences:
        raise ManyInputsError([f"{origin}: {sentence}" for sentence in sentences])
    return config


def _drop_other_members(details: Sequence[ErrorDetails], start: int = 0) -> list[ErrorDetails]:
    """Return the errors without those of union members that were not meant.

    start: unions are looked for from this part of the locations on.
    """
    meant: list[ErrorDetails] = []
    by_union: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in details:
        location = detail["loc"]
        tags = [index for index in range(start, len(location)) if _is_tag(location[index], location)]
        if tags:
            by_union.setdefault(location[: tags[0]], []).append(detail)
        else:
            meant.append(detail)
    for place, members in by_union.items():
        # The member that got furthest is the one that was meant.
        best = max(members, key=lambda detail: (detail["type"] == "extra_forbidden", len(detail["loc"])))
        tag = best["loc"][len(place)]
        meant += _drop_other_members([detail for detail in members if detail["loc"][len(place)] == tag], len(place) + 1)
    return meant


def _without_consequences(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Return the errors without those that go with another: a list short of a bad item, a key missing as misspelt."""
    causes = []
    locations = [detail["loc"] for detail in details]
    extras = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        location = detail["loc"]
        is_around = any(len(other) > len(location) and other[: len(location)] == location for other in locations)
        siblings = [str(extra[-1]) for extra in extras if extra[:-1] == location[:-1]]
        is_misspelt = detail["type"] == "missing" and difflib.get_close_matches(str(location[-1]), siblings, n=1)
        if not is_around and not is_misspelt:
            causes.append(detail)
    return causes


def _sentence(kind: type[BaseModel], detail: ErrorDetails) -> str:
    path = [part for part in detail["loc"] if not _is_tag(part, detail["loc"])]
    key = _join_path(path) or "the study"
    if detail["type"] == "extra_forbidden":
        parents = list(_models_at(kind, detail["loc"][:-1]))
        fields = {name for parent in parents for name in parent.model_fields}
        return f"{key} is not a key of a study{suggestion(str(path[-1]), fields)}"
    if detail["type"] == "union_tag_not_found":
        return f"{key} has no {detail['ctx']['discriminator'].strip(chr(39))}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    if isinstance(detail["input"], dict | list | BaseModel):
        return f"{key}: {_reword(detail['msg'])}"
    return f"{key} is {detail['input']!r}; {_reword(detail['msg'])}"


def _reword(message: str) -> str:
    """Return pydantic's message in a study file's words."""
    sentence = (
        message.removeprefix("Value error, ")
        .replace("Input should", "it should")
        .replace("String should", "it should")
        .replace("valid tuple", "list")
    )
    sentence = re.sub(
        r"(?:Tuple|Value) should have at least (\d+) items? after validation, not (\d+)",
        r"it needs \1, has \2",
        sentence,
    )
    return re.sub(r"valid dictionary or .*", "mapping of keys", sentence)


_TAGS = (
    *TRAINING_METHODS,
    "str",
    "int",
    "constrained-int",
    "TaskFile",
    "PairFile",
    "HubCheckpoints",
    "function-before",
)


def _is_tag(part: int | str, path: tuple[int | str, ...]) -> bool:
    """Return whether pydantic put ``part`` into the location to say which member of a union was tried."""
    return isinstance(part, str) and (part in _TAGS or "[" in part) and part != path[0]


def _join_path(path: list[int | str]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _models_at(kind: Any, path: tuple[int | str, ...]) -> Iterator[type[BaseModel]]:
    """Yield the config classes that can stand at ``path`` below ``kind``: several in a union, unless a tag picks."""
    models = list(models_in(kind))
    for index, part in enumerate(path):
        if isinstance(part, int):  # a list's items are of the list's own annotation
            continue
        inside = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if inside:
            yield from _models_at(typing.Union[tuple(inside)], path[index + 1 :])  # noqa: UP007
            return
        models = [model for model in models if _carries_tag(model, part)] or models
    yield from models


def _carries_tag(model: type[BaseModel], tag: str) -> bool:
    annotations = [field.annotation for field in model.model_fields.values()]
    tags = [typing.get_args(literal) for literal in annotations if typing.get_origin(literal) is Literal]
    return model.__name__ == tag or any(tag in literal_tags for literal_tags in tags)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield every config class an annotation mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)
