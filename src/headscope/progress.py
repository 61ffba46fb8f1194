"""Progress as a parameter: long functions take ``progress`` and report to it; by default nothing is shown.

Compute code never prints. The command line passes an implementation that draws bars or writes plain lines.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Bar(Protocol):
    """One running count."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` more; ``note`` is a short text next to the bar (the current reward, a checkpoint's name)."""


@runtime_checkable
class Progress(Protocol):
    """The receiver of long work's reports."""

    def bar(self, label: str, total: int, start: int = 0) -> AbstractContextManager[Bar]:
        """Return a bar of ``total`` steps, open while the ``with`` block runs.

        start: steps made before, by a call that was interrupted; they tell nothing of how long a step takes.
        """


class _SilentBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class _Silent:
    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        yield _SilentBar()


SILENT: Progress = _Silent()
