"""The base of every config a user writes: frozen, unknown keys refused with the nearest valid one."""

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from headscope.comparison import Resampling
from headscope.errors import InputError, suggestion
from headscope.training import TRAINING_METHODS

Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BootstrapConfig(Config):
    """fraction: of real edges in a circuit. resamples, seed: of the pairs' bootstrap."""

    fraction: float
    resamples: int
    seed: int

    @property
    def resampling(self) -> Resampling:
        """Return it as the comparison takes it."""
        return Resampling(self.fraction, self.resamples, self.seed)


def validate_config(kind: type[Model], data: Any, origin: str) -> Model:
    """Return ``data`` as a ``kind``.

    Raises InputError with one sentence about the first thing wrong in it, naming ``origin``.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise InputError(_sentence(kind, error, origin)) from None


def _sentence(kind: type[BaseModel], error: ValidationError, origin: str) -> str:
    # If a union was tried, the member that got furthest is the one that was meant.
    first = max(
        error.errors(include_url=False),
        key=lambda detail: (detail["type"] == "extra_forbidden", len(detail["loc"])),
    )
    path = [part for part in first["loc"] if not _is_tag(part, first["loc"])]
    key = _join_path(path) or "the study"
    if first["type"] == "extra_forbidden":
        parents = list(_models_at(kind, first["loc"][:-1]))
        fields = {name for parent in parents for name in parent.model_fields}
        return f"{origin}: {key} is not a key of a study{suggestion(str(path[-1]), fields)}"
    if first["type"] == "union_tag_not_found":
        return f"{origin}: {key} has no {first['ctx']['discriminator'].strip(chr(39))}"
    if first["type"] == "missing":
        return f"{origin}: {key} is missing"
    if isinstance(first["input"], dict | list | BaseModel):
        return f"{origin}: {key}: {_reword(first['msg'])}"
    return f"{origin}: {key} is {first['input']!r}; {_reword(first['msg'])}"


def _reword(message: str) -> str:
    """Return pydantic's message in a study file's words."""
    sentence = message.removeprefix("Value error, ").replace("Input should", "it should").replace("valid tuple", "list")
    sentence = re.sub(
        r"Tuple should have at least (\d+) items? after validation, not (\d+)", r"it needs \1, has \2", sentence
    )
    return re.sub(r"valid dictionary or .*", "mapping of keys", sentence)


_TAGS = (*TRAINING_METHODS, "str", "int", "constrained-int", "TaskFile", "HubCheckpoints", "function-before")


def _is_tag(part: int | str, path: tuple[int | str, ...]) -> bool:
    """Return whether pydantic put ``part`` into the location to say which member of a union was tried."""
    return isinstance(part, str) and (part in _TAGS or "[" in part) and part != path[0]


def _join_path(path: list[int | str]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _models_at(kind: Any, path: tuple[int | str, ...]) -> Iterator[type[BaseModel]]:
    """Yield the config classes that can stand at ``path`` below ``kind``: several in a union, unless a tag picks."""
    models = list(_models_in(kind))
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


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield every config class an annotation mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)
