"""Options that belong together, as dataclasses: a command takes the group, typer sees its fields as options."""

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from headscope.cli.options import Base, Posts, Settings, StudyArgument, Tasks

if TYPE_CHECKING:
    from headscope.studies.study_file.study import Study


def flatten_groups(command: Callable[..., int], without: Sequence[str] = ()) -> Callable[..., int]:
    """Return a function of single options that puts them into the groups ``command`` takes, and calls it.

    without: names of options that it does not have; their defaults are used.
    """
    own = inspect.signature(command).parameters
    groups: dict[str, Any] = {}
    options: list[inspect.Parameter] = []
    for name, parameter in own.items():
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation
            options += _options_of(parameter.annotation)
        else:
            options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run_command(**values: Any) -> int:
        arguments = {name: value for name, value in values.items() if name in own}
        for name, group in groups.items():
            given = {field.name: values[field.name] for field in fields(group) if field.name in values}
            arguments[name] = group(**given)
        return command(**arguments)

    run_command.__doc__ = command.__doc__
    signature = inspect.Signature([option for option in options if option.name not in without])
    run_command.__signature__ = signature  # type: ignore[attr-defined]
    return run_command


def _options_of(group: Any) -> list[inspect.Parameter]:
    """Return the fields of a group as parameters of a function."""
    annotations = typing.get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    options = []
    for field in fields(group):
        options.append(inspect.Parameter(field.name, kind, default=field.default, annotation=annotations[field.name]))
    return options


@dataclass(frozen=True)
class StudyOptions:
    """The study a command is about: a file or a built-in name; or ``--base``, ``--post`` and ``--task``."""

    study: StudyArgument = "lab"
    settings: Settings = None
    base: Base = None
    post: Posts = None
    task: Tasks = None

    def read(self, settings: Sequence[str] | None = None) -> "Study":
        """Return the study. settings: to take in place of ``--set``.

        Raises InputError also if libraries are installed that no study can run with.
        """
        from headscope.errors import InputError
        from headscope.runs.supported import check_versions
        from headscope.studies.reading import adhoc_study, read_study

        check_versions()
        overrides = (self.settings or []) if settings is None else settings
        if (self.post or self.task) and not self.base:
            raise InputError("--post and --task describe a study without a file, which needs --base too")
        if self.base and self.study != "lab":
            raise InputError(f"found both study {self.study} and --base {self.base}; give one of them")
        if self.base:
            return adhoc_study(self.base, self.post or [], self.task or [], overrides)
        return read_study(self.study, overrides)
