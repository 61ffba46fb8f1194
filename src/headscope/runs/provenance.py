"""Provenance of results: package versions, git commit, hardware."""

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "headscope",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "math-verify",
    "numpy",
    "scipy",
    "tokenizers",
    "safetensors",
    "peft",
    "vllm",
)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results; ``absent`` for one not installed."""
    packages = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "absent"
    return packages


@cache
def commit() -> dict[str, Any]:
    """Return commit and dirty flag of the checkout headscope runs from; None if it is installed without one."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        result = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return result.stdout.strip() if result.returncode == 0 else None

    try:
        if git("ls-files", "--error-unmatch", __file__) is not None:
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except FileNotFoundError:
        pass  # no git on this machine
    return {"commit": None}


@cache
def hardware() -> dict[str, Any]:
    """Return processor, cores, memory and accelerators, as far as they are known without loading torch."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    record: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        record["accelerators"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return record


def peak_memory_gib() -> float:
    """Return the most memory this process has held so far, in GiB."""
    scale = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30, 3)
