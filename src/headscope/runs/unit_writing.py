"""Write a unit into a folder of its owner's, which becomes the unit's in one step."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headscope.runs.directory import RunDirectory
from headscope.runs.discarding import delete_folder, set_aside
from headscope.runs.failures import failure_file
from headscope.runs.leases import FinishedElsewhere, Lease
from headscope.runs.records import contents_of, done_mark, mark_done
from headscope.runs.unit_files import DONE
from headscope.runs.units import Unit
from headscope.storage import is_occupied, rename, rename_synced, sync_folder


@contextmanager
def write_unit(run: RunDirectory, unit: Unit, lease: Lease, *, anew: bool = False) -> Iterator[Path]:
    """Yield a folder to write ``unit`` into; if the block succeeds, it becomes the unit's in one step.

    The folder has the owner's name, so that no two processes write one. That of an interrupted try is thrown away,
    or taken over if the unit can resume in it. Raises FinishedElsewhere if the unit is another's by the end.

    anew: throw it away in any case.
    """
    partial = _take_partial(run, unit, lease, resumes=unit.work.resumable and not anew)
    try:
        yield partial
        mark_done(partial)
        _commit(run, unit, lease, partial)
    except FinishedElsewhere:
        delete_folder(partial)
        raise
    except BaseException:
        if lease.is_held():
            with suppress(OSError):
                rename(partial, run.free_partial(unit))
        else:  # written after the successor had taken what was there
            delete_folder(partial)
        raise


def _take_partial(run: RunDirectory, unit: Unit, lease: Lease, *, resumes: bool) -> Path:
    """Return this owner's own folder, with what is there already if the unit ``resumes``.

    Of several partial folders it is the one that got furthest (``Work.reached``), among equals the last owner's: an
    earlier owner may have gone on after it had lost the unit. Raises FinishedElsewhere if it has finished it.
    """
    final, own = run.folder(unit), run.folder(unit).with_name(f".{unit.digest}.{lease.name}.partial")
    partials = run.partials(unit)
    if final.exists():
        mark = done_mark(final)
        aside = None if run.is_current(unit) else set_aside(final, mark)
        if aside is None:
            raise FinishedElsewhere("")
        if mark is None:  # older versions wrote DONE after the rename
            partials.insert(0, aside)
        else:  # its inputs have been made again since
            delete_folder(aside)
    if resumes and partials:
        furthest = max(partials, key=lambda path: (unit.work.reached(path), lease.previous in path.name))
        partials.remove(furthest)
        rename(furthest, own)
    for stale in partials:
        delete_folder(stale)
    own.mkdir(parents=True, exist_ok=True)
    return own


def _commit(run: RunDirectory, unit: Unit, lease: Lease, partial: Path) -> None:
    """Make the partial folder the unit's. Raises FinishedElsewhere if another has finished or taken the unit."""
    final = run.folder(unit)
    sync_folder(partial)  # before it is asked whose the unit is: this may take long
    if not lease.is_held():
        raise FinishedElsewhere(_describe_difference(partial, final))
    # First: a finished unit never has a record of a failure, which would hold once its folder is deleted as damaged.
    failure_file(final).unlink(missing_ok=True)
    try:
        rename_synced(partial, final)
    except OSError as error:
        if not is_occupied(error):
            raise
        raise FinishedElsewhere(_describe_difference(partial, final)) from None


def _describe_difference(partial: Path, final: Path) -> str:
    """Return a sentence if a unit that was finished twice has other bytes; "" if not, or if it was not."""
    if not (final / DONE).exists() or contents_of(partial) == contents_of(final):
        return ""
    return f"two processes finished it with different bytes; the first one's are kept in {final}"
