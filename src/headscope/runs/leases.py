"""A lease per unit: whoever computes a unit holds it, so that several processes and machines fill one run directory.

``.DIGEST.lock/`` next to a unit's folder holds files named by generation, 1, 2, 3 …, each made exclusively and naming a
worker (``presence``). The owner is that of the highest generation.

1. Whoever wants a unit reads the highest generation. If its worker lives, the unit is held.
2. Else it makes the next generation. Of several takers one succeeds; the others begin again with 1.
3. The owner releases a unit by removing the files and then the folder.

A paused owner that was taken for dead finds a higher generation when it wakes up, at the next step of a bar or at the
end, and throws its work away.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headscope.progress import Bar, Progress
from headscope.runs import presence as presences
from headscope.runs.presence import Presence


class FinishedElsewhere(Exception):  # noqa: N818 - not an error: the unit is done, or another does it
    """The unit is another process's; ``args`` holds a sentence if both have finished it with different bytes, or ""."""


@dataclass(frozen=True)
class Lease:
    """A unit that this process holds. folder: of the lock's files."""

    folder: Path
    generation: int
    presence: Presence
    previous: str = ""

    @property
    def name(self) -> str:
        """Return the owner's name."""
        return self.presence.worker.name

    def is_held(self) -> bool:
        """Return whether nobody has taken the unit over."""
        return _newest(self.folder) == (self.generation, self.name)

    def release(self) -> None:
        """Let go of the unit; of one that was taken over, nothing is touched."""
        if not self.is_held():
            return
        for leftover in self.folder.glob("*.new"):  # of killed takers; a living one begins again
            leftover.unlink(missing_ok=True)
        # From the lowest: what is left is always the owner's, until the last is gone.
        for generation in sorted(_generations(self.folder)):
            if generation <= self.generation:
                (self.folder / str(generation)).unlink(missing_ok=True)
        with suppress(OSError):  # someone else is taking it
            self.folder.rmdir()


class HeldProgress:
    """A ``Progress`` whose bars end the work, by FinishedElsewhere, when another has taken the unit over."""

    def __init__(self, lease: Lease, inner: Progress) -> None:
        self._lease, self._inner = lease, inner
        self._last = time.monotonic()

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        with self._inner.bar(label, total, start) as bar:
            self.check()
            yield _HeldBar(self, bar)

    def check(self) -> None:
        """Ask whose the unit is, once per beat, and so at the first step after a pause."""
        now = time.monotonic()
        if now - self._last < presences.BEAT_SECONDS:
            return
        self._last = now
        if not self._lease.is_held():
            raise FinishedElsewhere("")


@dataclass(frozen=True)
class _HeldBar:
    progress: HeldProgress
    inner: Bar

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.inner.advance(steps, note)
        self.progress.check()


def lock_folder(folder: Path) -> Path:
    """Return where the lock of the unit of ``folder`` lies."""
    return folder.with_name(f".{folder.name}.lock")


def take(folder: Path, presence: Presence) -> Lease | None:
    """Return the lease of the unit of ``folder``; None if a living worker holds it."""
    locks = lock_folder(folder)
    while True:
        generation, owner = _newest(locks)
        if owner == presence.worker.name:
            # Ours: a process does one unit at a time, so that this is what a file server did and did not say.
            return Lease(locks, generation, presence)
        if generation and (presence.is_alive(owner) if owner else not presence.is_silent(locks / str(generation))):
            return None
        if not _make(locks / str(generation + 1), presence):
            continue
        if generation and _owner(locks / str(generation)) not in ("", owner):
            # The dead owner's was removed and a living one's has its number since: that one is older.
            (locks / str(generation + 1)).unlink(missing_ok=True)
            continue
        return Lease(locks, generation + 1, presence, owner or "")


def holder(folder: Path) -> tuple[str, float] | None:
    """Return the name of the worker that holds the unit of ``folder`` and since when, in seconds since 1970 by the file
    server's clock; None if nobody does. Whether it still lives is not asked.
    """
    locks = lock_folder(folder)
    generation, owner = _newest(locks)
    if not owner:
        return None
    try:
        return owner, (locks / str(generation)).stat().st_mtime
    except FileNotFoundError:
        return None


def _make(path: Path, presence: Presence) -> bool:
    """Make a lock file that names this worker; return whether nobody else had made it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # it was there, and was taken away before that could be looked at
        return False
    new = path.with_name(f"{presence.worker.name}.new")
    try:
        new.write_text(presence.worker.name, encoding="utf-8")
        try:
            os.link(new, path)  # its content is there at once, and old servers know no other way to be the only one
        except FileExistsError:
            return False
        except FileNotFoundError:
            return False
        except OSError:
            return _create(path, presence.worker.name)
        finally:
            new.unlink(missing_ok=True)
    except FileNotFoundError:  # another has released the unit, and its folder is gone
        return False
    return True


def _create(path: Path, name: str) -> bool:
    """Make a lock file on a file system without links."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(name)
    except FileExistsError:
        return False
    return True


def _newest(locks: Path) -> tuple[int, str | None]:
    """Return the highest generation with its owner, None for one that is just being made; (0, "") if there is none."""
    while True:
        generation = max(_generations(locks), default=0)
        if generation == 0:
            return 0, ""
        owner = _owner(locks / str(generation))
        if owner != "":
            return generation, owner


def _generations(locks: Path) -> list[int]:
    try:
        return [int(path.name) for path in locks.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return []


def _owner(path: Path) -> str | None:
    """Return the name in a lock file; "" if it is gone, None if it is not written yet."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") or None
    except FileNotFoundError:
        return ""
