"""Progress as people see it: rich bars on a terminal, plain lines with an ETA elsewhere. Both go to standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.text import Text

from headscope.cli.terminal import say
from headscope.plain_text import plain_line
from headscope.progress import Bar, Progress

PLAIN_EVERY = 10.0  # seconds between plain lines of one bar
QUIET_BELOW = 2.0  # what ends sooner is not worth a line
UNEVEN = ("units", "measuring")
"""Bars whose steps take from a second to hours, trainings first: what is done says nothing of what is left."""


class _RichBar:
    def __init__(self, bars: RichBars, label: str, total: int, start: int) -> None:
        self._bars = bars
        self._task = bars.add_task(plain_line(label), total=total, completed=start, note="", even=label not in UNEVEN)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=steps, note=plain_line(note))

    def close(self) -> None:
        self._bars.remove_task(self._task)


class _TimeLeft(TimeRemainingColumn):
    """Says how long the rest will take if the steps done so far tell."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["even"] else Text()


class RichProgress:
    """Bars that vanish when they are done, the outermost on top."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self._bars = RichBars(*columns, console=console, transient=True)
        self._open = 0

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        if self._open == 0:
            self._bars.start()
        self._open += 1
        bar = _RichBar(self._bars, label, total, start)
        try:
            yield bar
        finally:
            bar.close()
            self._open -= 1
            if self._open == 0:
                self._bars.stop()


class _PlainBar:
    def __init__(self, label: str, total: int, start: int) -> None:
        self._label, self._total, self._before, self._steps = label, total, start, start
        self._start = self._last_line = time.monotonic()
        self._has_spoken = False

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._steps += steps
        now = time.monotonic()
        announces = steps == 0 and not self._has_spoken  # what begins is said at once, the first time
        if announces or now - self._last_line >= PLAIN_EVERY:
            self._last_line, self._has_spoken = now, True
            say(f"{self._label}: {self._steps}/{self._total}{self._eta(now)}  {note}".rstrip(), error=True)

    def _eta(self, now: float) -> str:
        """Return how long the rest will take; nothing if the steps done so far, or their lack, do not tell."""
        steps_done = self._steps - self._before
        if steps_done <= 0 or self._label in UNEVEN:
            return ""
        return f", about {(now - self._start) / steps_done * (self._total - self._steps):.0f} s left"

    def close(self) -> None:
        elapsed = time.monotonic() - self._start
        if elapsed >= QUIET_BELOW:
            say(f"{self._label}: {self._steps}/{self._total} in {elapsed:.0f} s", error=True)


class PlainProgress:
    """A line every ten seconds and one at the end of whatever took longer than two."""

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        bar = _PlainBar(label, total, start)
        try:
            yield bar
        finally:
            bar.close()


def for_terminal() -> Progress:
    """Return bars if standard error is a terminal, else lines."""
    console = Console(stderr=True)
    return RichProgress(console) if console.is_terminal else PlainProgress()
