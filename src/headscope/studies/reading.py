"""Read a study: defaults < YAML < ``--set a.b=c``, from a file or by a built-in name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from headscope.errors import InputError, suggestion
from headscope.evaluation import Task, TaskFile
from headscope.lab.builtin_studies import builtin_studies, builtin_study
from headscope.studies.data import sources
from headscope.studies.study_file.config import validate_config
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.training import PRESETS

SUFFIXES = (".yaml", ".yml")
MOST_CHARACTERS, MOST_NODES, DEEPEST = 100_000, 10_000, 30
"""Of YAML: far more than studies have, and read within a second or two."""


def study_file(name: str) -> Path:
    """Return the file of a study, by path or built-in name."""
    return builtin_study(name) if name in builtin_studies() else Path(name)


def read_study(name: str, overrides: Sequence[str] = ()) -> Study:
    """Return a study by path or built-in name, with ``a.b=c`` overrides (``variants.0.train.max_steps=5``).

    Raises InputError in one sentence: missing file, bad YAML, unknown key with the nearest valid one, value out of
    range.
    """
    if name in builtin_studies():
        return parse_study(builtin_study(name).read_text(), f"built-in study {name}", Path.cwd(), overrides)
    path = Path(name)
    if path.suffix not in SUFFIXES:
        raise InputError(f"study {name!r} is no YAML file and no built-in study{suggestion(name, builtin_studies())}")
    if not path.is_file():
        raise InputError(f"study file {name} does not exist")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"study file {name} cannot be read: {error.strerror}") from None
    return parse_study(text, name, path.parent, overrides)


def parse_study(text: str, origin: str, folder: Path, overrides: Sequence[str] = ()) -> Study:
    """Return a study from YAML text; relative paths in it are taken from ``folder``."""
    data = parse_yaml(text, origin)
    if not isinstance(data, dict):
        raise InputError(
            f"{origin} is {type(data).__name__ if data is not None else 'empty'}; a study is a mapping of keys"
        )
    for override in overrides:
        _apply(data, override)
    faults = _insert_presets(data)
    return _checked(validate_config(Study, data, origin, faults).at(folder.resolve()))


def adhoc_study(base: str, posts: Sequence[str], tasks: Sequence[str], overrides: Sequence[str] = ()) -> Study:
    """Return a study without a file: a base, post-trained models, tasks; the rest by default or ``--set``."""
    if not tasks:
        raise InputError("--base needs at least one --task: a name (headscope ls tasks) or a file")
    names = _short_names(posts)
    data: dict[str, Any] = {
        "name": "-".join([_plain_name(Path(base).name), *names]),
        "base": {"model": base},
        "variants": [{"name": name, "model": post} for name, post in zip(names, posts, strict=True)],
        "tasks": list(tasks),
    }
    for override in overrides:
        _apply(data, override)
    return _checked(validate_config(Study, data, "the command line").at(Path.cwd()))


def _checked(study: Study) -> Study:
    study.check_tasks()  # once paths are whole: one file may be written in several ways
    return study


def read_task(text: str, data_dir: Path | None = None) -> Task:
    """Return a task as a study file names it: by name, by file, or as ``{file: …, answer: …}`` with columns."""
    ref: TaskRef = text
    if text.lstrip().startswith("{"):
        ref = validate_config(TaskFile, parse_yaml(text, f"task {text}"), f"task {text}")
    return sources.task(ref, None if data_dir is None else str(data_dir))


def _short_names(models: Sequence[str]) -> list[str]:
    """Return models by the last parts of their paths or ids, as many as tell them apart and from the base."""
    names: list[str] = []
    # The shortest endings that differ; if even whole paths are alike, the study refuses the names.
    for depth in range(1, max((len(Path(model).parts) for model in models), default=0) + 1):
        names = [_plain_name("-".join(Path(model).parts[-depth:])) for model in models]
        if len(set(names)) == len(names) and "base" not in names:
            break
    return names


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("-")


class _StudyLoader(yaml.SafeLoader):
    """A loader with limits, which refuses a key given twice: YAML's own silently takes the last."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """See ``yaml.SafeLoader``; counts how deep nodes lie."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"a study has at most {DEEPEST} levels", self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """See ``yaml.SafeLoader``; counts what aliases and merged keys would grow to."""
        node = super().get_single_node()
        if node is not None and _count_nodes(node, {}) > MOST_NODES:
            fault = f"aliases make more than {MOST_NODES:,} values of it, and a study has no more"
            raise yaml.composer.ComposerError(None, None, fault, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See ``yaml.SafeLoader``."""
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes on, off, yes and no for truth values, and ``on`` is a key (``ablate.on``). As a value each stays what
# it was: where a truth value is asked for, pydantic reads these words as one.
_BOOLEAN = "tag:yaml.org,2002:bool"
_StudyLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StudyLoader.add_implicit_resolver(_BOOLEAN, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _count_nodes(node: yaml.Node, counts: dict[int, float]) -> float:
    """Return how many values a node holds, those of an alias each time; infinitely many if it holds itself."""
    if id(node) not in counts:
        counts[id(node)] = float("inf")
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [child for item in inside for child in (item if isinstance(item, tuple) else (item,))]
        counts[id(node)] = 1.0 + sum(_count_nodes(child, counts) for child in children)
    return counts[id(node)]


def parse_yaml(text: str, origin: str) -> Any:
    """Return what a study's YAML says, unchecked. Raises InputError, naming ``origin``, if it is no YAML."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{origin} has {len(text):,} characters; a study has at most {MOST_CHARACTERS:,}")
    try:
        return yaml.load(text, _StudyLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        faults = [error.problem or error.context]
        if str(error.problem).startswith("but "):  # the end of a sentence that the context begins
            faults.insert(0, error.context)
        raise InputError(f"{origin} is not YAML: {', '.join(map(str, faults))}{place}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{origin} is not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, AttributeError) as error:  # of numbers with thousands of digits and days that no month has
        raise InputError(f"{origin} holds a number or date that cannot be read: {error}") from None


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override!r} is not of the form a.b=value")
    *parents, last = key.split(".")
    place: Any = data
    for parent in parents:
        place = place[_find_index(place, parent, key)] if isinstance(place, list) else place.setdefault(parent, {})
        if not isinstance(place, dict | list):
            raise InputError(f"--set {key}: {parent} is {place!r} and holds no keys")
    place[_find_index(place, last, key) if isinstance(place, list) else last] = parse_yaml(
        value, f"--set {key}: {value!r}"
    )


def _find_index(items: list[Any], part: str, key: str) -> int:
    """Return where an element of a list is, by number or by its ``name``."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    named = [str(name) for name in names if name]
    raise InputError(f"--set {key}: {part!r} is no element{suggestion(part, named or map(str, range(len(items))))}")


def _insert_presets(data: dict[str, Any]) -> list[str]:
    """Write out ``train: {preset: lab-grpo, …}`` in place; keys next to the preset win.

    Returns a sentence on every preset that does not exist; a training without errors is put in its place.
    """
    faults = []
    variants = data.get("variants")
    for variant in [data.get("base"), *(variants if isinstance(variants, list) else [])]:
        train = variant.get("train") if isinstance(variant, dict) else None
        if isinstance(train, dict) and "preset" in train:
            name = str(train.pop("preset"))
            if name not in PRESETS:
                faults.append(f"training preset {name!r} does not exist{suggestion(name, PRESETS)}")
                train = {"dataset": "lab-traces"}
            variant["train"] = {**PRESETS.get(name, PRESETS["lab-sft"]), **train}
    return faults
