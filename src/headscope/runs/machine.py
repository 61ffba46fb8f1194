"""Which machine this is, and whether one of its processes still lives."""

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
    """Return when a process of this machine started, in a form of its own; "" if there is none, or it has ended.

    A number is given to another process when its own has ended; both together are not.
    """
    if not sys.platform.startswith("linux"):
        command = ["ps", "-o", "lstart=", "-p", str(process)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    has_ended = fields[0] in "ZX"  # killed, and its parent has not asked how it ended
    return "" if has_ended else fields[19]


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
