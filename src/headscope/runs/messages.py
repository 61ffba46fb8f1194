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
    """What a worker is told first.

    run: the run directory. folder: the leader's current one, which relative paths of units start at.
    plan, leader: as in ``presence.Worker``. machine: the leader's (``machine.machine_key``).
    path: of imports.
    memory_share: of the memory that a unit takes otherwise; below 1 after it ran out.
    others: places of workers whose devices it has in addition to its own.
    """

    run: Path
    folder: Path
    plan: str
    leader: str
    machine: str
    path: tuple[str, ...]
    memory_share: float = 1.0
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """A worker's error that ends the whole call, as a full disk does."""

    reason: str
    is_disk_full: bool
