"""Delete units: damaged or outdated ones, those that are made again, and what killed processes left.

Another process may be at work on any of them, so that a folder is renamed before it is looked at again or deleted.
"""

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headscope.runs.directory import RunDirectory
from headscope.runs.leases import take
from headscope.runs.presence import Presence
from headscope.runs.records import done_mark, find_unit_damage
from headscope.runs.unit_files import DONE
from headscope.storage import is_occupied, rename

DELETED = ".damaged"
"""Suffix of folders that are being deleted."""
ASIDE = ".aside"
"""Suffix of folders that are looked at once more before they are deleted."""


def delete_folder(folder: Path) -> None:
    """Delete a unit's folder, or a partial one."""
    # Renamed first: a kill while it is deleted must not leave a part that looks like an unfinished unit.
    digest = folder.name.removeprefix(".").partition(".")[0]
    aside = folder.with_name(f".{digest}.{secrets.token_hex(4)}{DELETED}")
    with suppress(FileNotFoundError):  # another has taken it
        rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(folder: Path, mark: tuple[int, int] | None) -> Path | None:
    """Move a unit's folder aside and return where to; None if it is another's by now, which then stays.

    A process that pauses between a look and a deletion may have lost the unit, and another may have finished it.

    mark: ``done_mark`` of what was looked at; None if it was not finished.
    """
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{ASIDE}")
    with suppress(FileNotFoundError):
        rename(folder, aside)
        if done_mark(aside) == mark:
            return aside
        _put_back(aside)
    return None


def _put_back(aside: Path) -> None:
    """Move a folder that was set aside back to its unit, unless another has finished that meanwhile."""
    folder = aside.with_name(aside.name[1:].partition(".")[0])
    try:
        rename(aside, folder)
    except FileNotFoundError:  # put back by another
        return
    except OSError as error:
        if is_occupied(error):
            delete_folder(aside)  # else it stays, for ``clear_leftovers``


def discard_damaged(run: RunDirectory, presence: Presence | None = None) -> dict[str, str]:
    """Delete every finished unit with a damaged file; return what was wrong, by address.

    presence: this process's, if it has joined those at work in the directory; None joins them for the time of the call.
    """
    problems: dict[str, str] = {}
    if not (run.path / "units").is_dir():
        return problems
    with _join(run, presence) as owner:
        for leftover in run.path.glob(f"units/*/.*{DELETED}"):
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in sorted(mark.parent for mark in run.path.glob(f"units/*/[!.]*/{DONE}")):
            try:
                lease = take(folder, owner) if find_unit_damage(folder) else None
            except FileNotFoundError:  # another has deleted it
                continue
            if lease is None:
                continue
            try:
                # Again, as its owner: another may have mended or deleted it since.
                mark = done_mark(folder)
                problem = "" if mark is None else find_unit_damage(folder)
                if problem and _delete_finished(folder, mark):
                    problems[f"{folder.parent.name}/{folder.name}"] = problem
            finally:
                lease.release()
    return problems


def discard(run: RunDirectory, folders: Iterable[Path]) -> None:
    """Delete finished units that are outdated; one that another process is at work on stays."""
    with Presence(run.path) as presence:
        for folder in folders:
            lease = take(folder, presence)
            if lease is not None:
                try:
                    _delete_finished(folder, done_mark(folder))
                finally:
                    lease.release()


def _delete_finished(folder: Path, mark: tuple[int, int] | None) -> bool:
    """Delete a unit that this process holds; return False if it is another's by now. mark: as in ``set_aside``."""
    aside = set_aside(folder, mark)
    if aside is None:
        return False
    delete_folder(aside)
    return True


@contextmanager
def _join(run: RunDirectory, presence: Presence | None) -> Iterator[Presence]:
    """Yield the presence of a process that is at work in the directory, its own if it has none."""
    if presence is not None:
        yield presence
        return
    with Presence(run.path) as own:
        yield own


def clear_leftovers(run: RunDirectory, presence: Presence) -> None:
    """Delete what killed processes left of units that are finished: locks, and folders that were being deleted.

    A folder that was set aside is put back.
    """
    for leftover in run.path.glob("units/*/.*"):
        digest = leftover.name[1:].partition(".")[0]
        folder = leftover.with_name(digest)
        if leftover.suffix in (DELETED, ASIDE) or (folder / DONE).exists():
            lease = take(folder, presence)
            if lease is not None:
                if leftover.suffix == ASIDE:
                    _put_back(leftover)
                elif leftover.is_file():  # half of a record of a failure
                    leftover.unlink(missing_ok=True)
                elif leftover != lease.folder:
                    shutil.rmtree(leftover, ignore_errors=True)
                lease.release()
