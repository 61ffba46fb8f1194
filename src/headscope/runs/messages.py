"""Messages between a worker (``worker_process``) and the process that began it, besides units and reports.

Texts are notes of the worker's bars.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

END = b""
"""Told to a worker instead of a unit: there is no more."""
READY = "ready"
"""The first thing a worker says."""
LAST_SECONDS = 5.0
"""What a worker that is interrupted may take to leave its unit as it can be resumed."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker.

    run: the run directory. folder: the leader's current one, which relative paths of units start at.
    plan, leader: as in ``presence.Worker``. machine: the leader's (``machine.machine_key``).
    path: of imports. environment: variables that every worker gets (``shared_environment``).
    memory_share: of the memory that a unit takes otherwise; below 1 after it ran out.
    others: places of workers whose devices it has in addition to its own.
    """

    run: Path
    folder: Path
    plan: str
    leader: str
    machine: str
    path: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_share: float = 1.0
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """A worker's error that ends the whole call, as a full disk does."""

    reason: str
    is_disk_full: bool


def shared_environment() -> dict[str, str]:
    """Return this process's variables that decide what a worker reads and how: those of headscope and of the hub."""
    return {name: value for name, value in os.environ.items() if name.startswith(("HEADSCOPE_", "HF_"))}
