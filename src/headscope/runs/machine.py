"""Identify this machine, and tell whether one of its processes still lives."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path


def host() -> str:
    """Return the machine's name, for people."""
    return platform.node() or "unknown"


@cache
def machine_key() -> str:
    """Return what processes share that see each other's process numbers.

    Containers of one name may lie on two machines, and two of one machine number their processes apart: it is the
    kernel's boot and the namespace of process numbers that tell. Elsewhere than on Linux it is the machine's name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return host()


def process_start(process: int) -> str:
    """Return when a process of this machine started, in a form of its own; "" if none can be seen, or it has ended.

    A number is given to another process when its own has ended; both together are not.
    """
    if not sys.platform.startswith("linux"):
        command = ["ps", "-o", "lstart=", "-p", str(process)]
        words_of_c = {**os.environ, "LC_ALL": "C"}  # a date's words depend on the locale, and processes' locales differ
        return subprocess.run(command, capture_output=True, text=True, check=False, env=words_of_c).stdout.strip()
    fields = _stat(process)
    return "" if not fields or _is_over(fields) else fields[19]


def has_ended(process: int, born: str) -> bool:
    """Return whether a process of this machine that started when ``born`` says has certainly ended.

    A process that ``/proc`` does not show may be another user's (``hidepid``), and is not therefore dead.
    """
    start = process_start(process)
    if start:
        return start != born
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is there, and another user's
        return False
    return _is_over(_stat(process))


def _stat(process: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on; none if it cannot be read."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _is_over(fields: list[str]) -> bool:
    """Return whether a process was killed, and its parent has not asked how it ended."""
    return bool(fields) and fields[0] in "ZX"
