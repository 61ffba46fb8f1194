"""docs/study.md: every key of a study file with its type, default and meaning, from the models that read it.

``python -m headscope.studies.study_file.reference`` prints it. What a key means stands in the docstring of its class,
as ``key: meaning``.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headscope.evaluation import Chat, TaskFile
from headscope.studies.study_file import ablate, discover, evaluate, executor, models, training
from headscope.studies.study_file.study import Study

SECTIONS: dict[type[BaseModel], str] = {
    Study: "A study",
    models.BaseConfig: "`base`",
    models.VariantConfig: "An element of `variants`",
    models.HubCheckpoints: "`checkpoints` of a variant, on the hub",
    training.SftTraining: "`train` with `method: sft`",
    training.DistillTraining: "`train` with `method: distill`",
    training.GrpoTraining: "`train` with `method: grpo`",
    TaskFile: "An element of `tasks` that is a file",
    Chat: "`chat`",
    discover.DiscoverConfig: "`discover`",
    discover.PairFile: "`discover.contrast`, a file of pairs",
    ablate.AblateConfig: "`ablate`",
    evaluate.EvalConfig: "`eval`",
    executor.ExecutorConfig: "`executor`",
}
_INTRODUCTION = """# The study file

Every key with its default, from the code (`python -m headscope.studies.study_file.reference > docs/study.md`).
Unknown keys are refused. `--set a.b=c` overrides one key; an element of a list is named by its number or its `name`.
Studies to begin from: `headscope ls studies`.
"""


def write_reference() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(model, title) for model, title in SECTIONS.items())])


def _section(model: type[BaseModel], title: str) -> str:
    summary = summary_of(model)
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(meaning_of(model, name))} |"
        for name, field in model.model_fields.items()
    ]
    header = "| key | value | default | meaning |\n| --- | --- | --- | --- |"
    return f"## {title}\n\n{summary}\n\n{header}\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def summary_of(model: type[BaseModel]) -> str:
    """Return what the docstring of a config class says before its keys."""
    return inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def meaning_of(model: type[BaseModel], name: str) -> str:
    """Return what the docstring of ``model``, or of the class it has the key from, says of a key; "" if nothing."""
    for source in inspect.getmro(model):
        if issubclass(source, BaseModel) and name in source.model_fields and source.__doc__:
            meanings = dict(_meanings(source))
            if name in meanings:
                return meanings[name]
    return ""


def _meanings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Yield each key that the docstring explains, with its explanation; several keys may share one."""
    # A summary may hold a colon of its own: "A model: a folder, …".
    summary, _, body = inspect.cleandoc(model.__doc__ or "").partition("\n\n")
    text = " ".join((body or summary.partition(". ")[2]).split())
    keys = "|".join(map(re.escape, model.model_fields))
    marks = list(re.finditer(rf"(?:^|(?<=[.\s]))((?:{keys})(?:, (?:{keys}))*): ", text))
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        meaning = text[mark.end() : end].strip().rstrip(".").replace("``", "`")
        for key in mark[1].split(", "):
            yield key, meaning


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    return "none" if value is None or value == () else f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _type(field: FieldInfo) -> str:
    limits = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(mark, key)}" for mark in field.metadata for key, sign in limits.items() if hasattr(mark, key)
    ]
    return _cell(", ".join([_name(field.annotation), *bounds]))


def _name(annotation: Any) -> str:
    """Return a type in a study file's words."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _name(inside[0])
    if origin is Literal:
        return " | ".join(f"`{_yaml(value)}`" for value in inside)
    if origin in (UnionType, typing.Union):
        return " | ".join(dict.fromkeys(_name(member) for member in inside if member is not type(None)))
    if origin in (tuple, list):
        return f"list of {_name(inside[0])}"
    if origin is dict:
        return "mapping"
    words = {str: "text", int: "whole number", float: "number", bool: "true | false"}
    if annotation in words:
        return words[annotation]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"mapping ({SECTIONS[annotation].replace('`', '')})" if annotation in SECTIONS else "mapping"
    return str(annotation)


if __name__ == "__main__":
    print(write_reference(), end="")  # noqa: T201
