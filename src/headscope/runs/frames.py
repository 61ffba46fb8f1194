"""Units of one kind as one DataFrame: labels first, then what the results hold, then why a unit has none."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError, suggestion
from headscope.results.codec import Json
from headscope.results.frames import SAVED_AS, Record, records, result_kinds
from headscope.results.not_run import NotRun
from headscope.runs.failures import Failure
from headscope.runs.records import Finished
from headscope.runs.unit_files import DONE, RECORD
from headscope.storage import TRAINING_LOG, Result, check_keys, parse_object

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not_run"
"""The column that says why a unit has no result; missing if it has one."""

TRAINING = "train"

Labels = Mapping[str, Json]
Rows = tuple[Labels, list[Record], str | None]
"""Of one unit: its labels, its rows, and why there are none."""


def find_kind(kind: str, planned: Iterable[str]) -> type[Result] | None:
    """Return the class of a kind's results; None for trainings, which have a log.

    Raises InputError if there is no such kind, with those of the run.
    """
    if kind == TRAINING:
        return None
    kinds = result_kinds()
    kind_class = kinds.get(SAVED_AS.get(kind, kind))
    if kind_class is None:
        known = [name for name in dict.fromkeys(planned) if SAVED_AS.get(name, name) in kinds or name == TRAINING]
        raise InputError(f"{kind!r} is no kind of result{suggestion(kind, [*known, 'claims'])}")
    return kind_class


def check_labels(kind: str, labels: Labels, units: Sequence[Labels]) -> None:
    """Check labels against those of a kind's units; a run that has no such unit has no labels to check.

    Raises InputError if no unit has the label, no unit has the value, or each has one but none has all of them.
    """
    for name, value in labels.items():
        values = list(dict.fromkeys(unit_labels.get(name) for unit_labels in units))
        if units and not any(name in unit_labels for unit_labels in units) and value is not None:
            names = sorted({name for unit_labels in units for name in unit_labels})
            raise InputError(f"no {kind} unit has the label {name!r}{suggestion(name, names) if names else ''}")
        if units and value not in values:
            allowed = ", ".join(repr(value) for value in values if value is not None)
            raise InputError(f"no {kind} unit has {name}={value!r}; allowed: {allowed}")
    if units and not any(carries(unit_labels, labels) for unit_labels in units):
        together = ", ".join(f"{name}={value!r}" for name, value in labels.items())
        raise InputError(f"no {kind} unit has {together} together")


def carries(unit_labels: Labels, labels: Labels) -> bool:
    """Return whether a unit has these labels; one that is None may be absent."""
    return all(unit_labels.get(name) == label for name, label in labels.items())


def unit_rows(unit: Finished[Any]) -> Rows:
    """Read one finished unit; nothing of it is kept."""
    if {path.name for path in unit.folder.iterdir()} <= {DONE, RECORD}:
        return unit.labels, [], "it saved nothing"  # answers without heads to remove, before results said why
    result = unit.load()
    return (unit.labels, [], result.reason) if isinstance(result, NotRun) else (unit.labels, records(result), None)


def log_rows(unit: Finished[Any]) -> Rows:
    """Read the log of a training, one row per logged step."""
    path = unit.file(TRAINING_LOG)
    entries = []
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.is_file() else [], start=1):
        if line:
            entries.append(parse_object(line, f"line {number} of {path}"))
            check_keys(entries[-1], ("step",), f"line {number} of {path}")
    return unit.labels, entries, None


def failed_rows(labels: Labels, failure: Failure) -> Rows:
    """Return the row of a unit whose last try failed."""
    return labels, [], f"failed: {failure.reason}"


def join(kind: str, units: Iterable[Rows]) -> "pd.DataFrame":
    """Return all rows as one frame. A result's column called like a label is left out if both say the same in every
    row; otherwise it is called after its kind (``verdict_heads``).
    """
    import pandas as pd

    listed = list(units)
    names = list(dict.fromkeys(name for labels, _, _ in listed for name in labels))
    differing = {
        name
        for labels, rows, _ in listed
        for row in rows
        for name in row.keys() & labels.keys()
        if row[name] != labels[name]
    }
    table: list[Record] = []
    for labels, rows, reason in listed:
        of_unit = {name: labels.get(name) for name in names}
        for row in rows or [{}]:
            own = {_rename(name, kind, names): value for name, value in row.items() if _is_own(name, names, differing)}
            table.append(of_unit | own | {NOT_RUN: reason})
    # From the fullest row on, so that the ends of an interval stand next to their value.
    ordered = [name for row in sorted(table, key=len, reverse=True) for name in row if name != NOT_RUN]
    columns = list(dict.fromkeys([*names, *ordered, NOT_RUN]))
    return pd.DataFrame(table, columns=columns)


def _rename(name: str, kind: str, labels: list[str]) -> str:
    return f"{kind}_{name}" if name in (*labels, NOT_RUN) else name


def _is_own(name: str, labels: list[str], differing: set[str]) -> bool:
    return name not in labels or name in differing
