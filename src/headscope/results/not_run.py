"""A result that could not be made, with the reason: no heads to remove, or no correct answer to force."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from headscope.errors import InputError
from headscope.results.result import JsonResult
from headscope.storage import Result, read_object

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class NotRun(JsonResult):
    """Nothing was measured, for a reason in the study and not in the machine.

    reason: one sentence, for tables and the page. It is all there is to show: the one result without ``.plot()``.
    """

    kind: ClassVar[str] = "not run"
    file: ClassVar[str] = "not_run.json"

    reason: str


def load_result(kind: type[R], folder: Path) -> R | NotRun:
    """Read the result in a unit's folder, or the ``NotRun`` with the reason why there is none.

    Raises InputError if it is absent, damaged or made by a newer schema.
    """
    if (folder / NotRun.file).exists():
        return NotRun.load(folder)
    # Before schema 2, verdicts and evidence said so in their own file.
    name = getattr(kind, "file", None)
    if name is not None and (folder / name).exists():
        data = read_object(folder / name)
        if data.get("empty") is True:
            return NotRun(str(data.get("reason", "")))
    try:
        return kind.load(folder)
    except InputError:
        raise
    # Parts of another type, missing keys, lengths that do not fit: any error of code that reads a damaged file.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise InputError(f"the {kind.kind} in {folder} cannot be read: {type(error).__name__}: {error}") from error
