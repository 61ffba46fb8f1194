"""Compute finished units again, each from its record alone, and compare the bytes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from headscope.errors import InputError, suggestion
from headscope.progress import SILENT, Progress
from headscope.runs import Inputs, RunDirectory
from headscope.runs.digests import file_digest
from headscope.runs.records import Record, check_unit
from headscope.runs.unit_files import DONE, RECORD
from headscope.studies.plan import KINDS


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One unit, computed again.

    differing: files whose bytes are others now, or that are there only once. reason: why it was not computed; "" if it
        was. seconds: wall time.
    """

    kind: str
    labels: dict[str, object]
    differing: tuple[str, ...]
    reason: str
    seconds: float

    @property
    def is_same(self) -> bool:
        """Return whether it was computed and every byte is as before."""
        return not self.differing and not self.reason


def recompute(run: RunDirectory, kinds: Sequence[str] = (), *, progress: Progress = SILENT) -> Iterator[Recomputed]:
    """Yield every finished unit of these kinds (all without any), computed again in a folder of its own.

    Nothing of the plan or the study file is used: what a unit's record does not hold is not there. The run directory is
    only read. Raises InputError for a kind the run does not have.
    """
    present = list(dict.fromkeys(row["kind"] for row in run.rows()))
    unknown = [kind for kind in kinds if kind not in present]
    if unknown:
        raise InputError(f"run {run.path} has no units of kind {unknown[0]!r}{suggestion(unknown[0], present)}")
    records = [(kind, record) for kind in kinds or present for record in run.find(kind)]
    with progress.bar("units", len(records)) as bar:
        for kind, record in records:
            start = time.perf_counter()
            differing, reason = _compare(run, kind, record, progress)
            seconds = time.perf_counter() - start
            yield Recomputed(kind, record.labels, differing, reason, seconds)
            bar.advance(note=kind)


def _compare(run: RunDirectory, kind: str, record: Record, progress: Progress) -> tuple[tuple[str, ...], str]:
    """Return the files that differ, or why the unit cannot be computed again."""
    written, work = record.unit, KINDS.get(kind)
    if work is None or written["version"] != work.version:
        now = "does not know this kind" if work is None else f"computes version {work.version}"
        return (), f"it was made by version {written['version']} of {kind}, this headscope {now}"
    try:
        config = work.config.model_validate(written["config"])
    except ValidationError:
        return (), "it was made while a training was tracked, and the model of that step is gone"
    # Inputs are the finished ones: what differs is this unit's own doing.
    folders = {name: run.path / "units" / address for name, address in written["inputs"].items()}
    with TemporaryDirectory(prefix="headscope-") as folder:
        again = Path(folder)
        try:
            for name, source in folders.items():
                check_unit(source, name)
            work.run(config, Inputs(folders, again), progress)
        except InputError as error:
            return (), str(error)
        return tuple(_find_differences(record.folder, again, work.compared)), ""


def _find_differences(before: Path, after: Path, pattern: str) -> Iterator[str]:
    """Yield files that match the pattern and are not the same in both folders."""
    names = {str(path.relative_to(folder)) for folder in (before, after) for path in folder.glob(pattern)}
    for name in sorted(names - {DONE, RECORD}):
        old, new = before / name, after / name
        if not old.is_file() or not new.is_file() or file_digest(old) != file_digest(new):
            yield name
