"""The study file as a JSON Schema (draft 2020-12), for editors that complete and check YAML as it is typed.

It comes from the models that read the file, with their docstrings as descriptions, and says what the loader takes:
shorthands and presets are written out by the loader, so that they are added here. It says less than the loader, which
also knows what keys mean for one another (``headscope validate``).

``headscope schema`` prints it. Built-in studies name it in their first line, as ``# yaml-language-server: $schema=…``.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel

from headscope.studies.study_file.reference import SECTIONS, meaning_of, summary_of
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import Training
from headscope.training import PRESETS

FILE = "study.schema.json"
HEADER = f"# yaml-language-server: $schema={FILE}"
_TRAININGS = get_args(Training)

Schema = dict[str, Any]


def study_schema() -> Schema:
    """Return the schema as JSON values."""
    schema = Study.model_json_schema()
    definitions: dict[str, Schema] = schema["$defs"]
    for model in SECTIONS:
        _describe(schema if model is Study else definitions[model.__name__], model)
    for training in _TRAININGS:
        _allow_preset(definitions[training.__name__], training)
    _name_twin_keys(definitions)
    for part in _parts(schema):
        part.pop("discriminator", None)  # OpenAPI's: the constants of ``method`` say the same
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schema() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"


def _describe(schema: Schema, model: type[BaseModel]) -> None:
    """Say what a mapping and its keys mean, in place of the names that pydantic makes up."""
    schema["title"], schema["description"] = SECTIONS[model].replace("`", ""), summary_of(model)
    for name, key in schema["properties"].items():
        key.pop("title", None)
        if meaning := meaning_of(model, name):
            key["description"] = meaning
        if isinstance(key.get("default"), dict):  # a mapping's defaults stand at its own keys
            del key["default"]


def _allow_preset(schema: Schema, training: type[BaseModel]) -> None:
    """Let a training be named by one of its method's presets instead of the method; keys next to it win."""
    method = schema["properties"]["method"]["const"]
    names = [name for name, values in PRESETS.items() if values["method"] == method]
    text = "settings by name (`headscope ls presets`), next to which keys win"
    schema["properties"] = {"preset": {"enum": names, "description": text}} | schema["properties"]
    schema["anyOf"] = [{"required": ["method"]}, {"required": ["preset"]}]


def _name_twin_keys(definitions: dict[str, Schema]) -> None:
    """Let a twin change keys of trainings alone."""
    keys = sorted({key for training in _TRAININGS for key in training.model_fields} - {"method"})
    for kind in definitions["VariantConfig"]["properties"]["twins"]["items"]["anyOf"]:
        if kind.get("type") == "object":
            kind["propertyNames"] = {"enum": keys}


def _parts(schema: Any) -> Iterator[Schema]:
    """Yield every mapping of a schema, outermost first."""
    inner: Iterable[Any] = ()
    if isinstance(schema, dict):
        yield schema
        inner = schema.values()
    elif isinstance(schema, list):
        inner = schema
    for part in inner:
        yield from _parts(part)
