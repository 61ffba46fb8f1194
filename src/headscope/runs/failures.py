"""Reasons why a unit's last try failed, kept next to where its results would be."""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headscope.contents import DamagedError
from headscope.errors import InputError, MachineError, is_machine_trouble, is_out_of_memory
from headscope.results.codec import from_json
from headscope.storage import parse_object


@dataclass(frozen=True)
class Failure:
    """A failed try.

    reason: one line. bad_input: the input's fault. passing: the machine's fault, so that the same command tries again.
    damaged: what the try wanted to go on from has other bytes than it was written with.
    """

    reason: str
    bad_input: bool
    passing: bool = False
    damaged: bool = False
    traceback: str = ""

    @classmethod
    def from_error(cls, error: Exception) -> "Failure":
        """Return the failure that an error means while it is being handled."""
        is_input, is_troubled = isinstance(error, InputError), is_machine_trouble(error)
        # Of a killed loader of data, torch raises a RuntimeError with these words.
        is_killed = isinstance(error, MachineError) or "is killed by signal" in str(error)
        return cls(
            reason=str(error) if is_input else f"{type(error).__name__}: {error}",
            bad_input=is_input and not is_troubled,  # a model's file may be whole, and the file server away
            passing=is_troubled or is_killed or is_out_of_memory(error),
            damaged=isinstance(error, DamagedError),
            traceback=traceback.format_exc(),
        )

    @classmethod
    def read(cls, folder: Path) -> "Failure | None":
        """Read the last failure of the unit of ``folder``; None if it never failed. A damaged record counts as one."""
        path = failure_file(folder)
        try:
            return from_json(cls, parse_object(path.read_bytes(), str(path)), str(path))
        except (FileNotFoundError, NotADirectoryError):  # also if another process has just finished the unit
            return None
        except InputError as error:
            return cls(f"it is not known why: {error}", bad_input=True)


def failure_file(folder: Path) -> Path:
    """Return where it is kept why the unit of ``folder`` failed."""
    return folder.with_name(f"{folder.name}.failed.json")


def by_reason(failures: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line per reason, with the first unit that failed for it and how many more did.

    failures: unit and reason.
    """
    names: dict[str, list[str]] = {}
    for name, reason in failures:
        names.setdefault(reason, []).append(name)
    return [
        f"{units[0]}{f' and {len(units) - 1} more' if len(units) > 1 else ''}: {reason}"
        for reason, units in names.items()
    ]
