"""Modules of this package that run in a process of their own, which can be limited and killed."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import headscope


def module_process(module: str, *arguments: object) -> tuple[list[str], Mapping[str, str]]:
    """Return command and environment that run a module, on one thread, whatever the current folder holds."""
    # -P: the current folder must not come first on the path, files in it may have any name.
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    source = str(Path(headscope.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    return command, {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
