"""What a worker (``worker_process``) and the process that began it say to each other, besides units and reports.

Texts are notes of the worker's bars.
"""

from dataclasses import dataclass
from pathlib import Path

END = b""
"""Told to a worker instead of a unit: there is no more."""
READY = "ready"
"""The first thing a worker says."""
LAST_SECONDS = 5.0
"""What a worker that is interrupted may take to leave its unit as it can be resumed."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told first. run: directory. plan, leader: as in ``presence.Worker``. path: of imports."""

    run: Path
    plan: str
    leader: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A worker's error that ends the whole call, as a full disk does."""

    reason: str
    is_disk_full: bool
