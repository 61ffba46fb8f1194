"""The base of every config a user writes: frozen, unknown keys refused with the nearest valid one."""

import inspect
import re
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from headscope.comparison import Resampling
from headscope.errors import ManyInputsError, suggestion
from headscope.training import TRAINING_METHODS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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

    Raises InputError with one sentence for each thing wrong in it, naming ``origin``.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ManyInputsError(_sentences(kind, error, origin)) from None


def _sentences(kind: type[BaseModel], error: ValidationError, origin: str) -> list[str]:
    """Return a sentence for each place in the data that is wrong."""
    details = error.errors(include_url=False)
    places = [detail["loc"] for detail in details]
    by_place: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in details:
        # A list with a wrong element is called too short as well.
        if not any(place[:-1] == detail["loc"] and detail["type"] == "too_short" for place in places):
            by_place.setdefault(_choice_at(detail["loc"]), []).append(detail)
    # If a union was tried, the member that got furthest is the one that was meant.
    furthest = [
        max(details, key=lambda detail: (detail["type"] == "extra_forbidden", len(detail["loc"])))
        for details in by_place.values()
    ]
    return [_sentence(kind, detail, origin) for detail in furthest]


def _choice_at(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path up to where pydantic tried several members of a union: their errors are one."""
    for index, part in enumerate(path):
        if part not in TRAINING_METHODS and _is_tag(part, path):
            return path[:index]
    return path


def _sentence(kind: type[BaseModel], detail: "ErrorDetails", origin: str) -> str:
    path = [part for part in detail["loc"] if not _is_tag(part, detail["loc"])]
    key = _join_path(path) or "the study"
    if detail["type"] == "extra_forbidden":
        parents = list(_models_at(kind, detail["loc"][:-1]))
        fields = {name for parent in parents for name in parent.model_fields}
        return f"{origin}: {key} is not a key of a study{suggestion(str(path[-1]), fields)}"
    if detail["type"] == "union_tag_not_found":
        return f"{origin}: {key} has no {detail['ctx']['discriminator'].strip(chr(39))}"
    if detail["type"] == "missing":
        return f"{origin}: {key} is missing"
    if isinstance(detail["input"], dict | list | BaseModel):
        return f"{origin}: {key}: {_reword(detail['msg'])}"
    return f"{origin}: {key} is {detail['input']!r}; {_reword(detail['msg'])}"


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
