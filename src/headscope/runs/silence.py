"""Measure how long somebody has been silent while this process listened, by its own monotonic clock.

A file that is old says little: the file server, or all machines, may have stood still meanwhile. So silence counts only
from the first look that finds a sign, and only as long as the looks follow each other closely.
"""

import threading
import time
from collections.abc import Hashable


class SilenceWatch:
    """Signs of life by key, each with the time since which it has been the same at every look."""

    def __init__(self) -> None:
        self._signs: dict[str, tuple[Hashable, float, float]] = {}
        self._looking = threading.Lock()

    @property
    def keys(self) -> list[str]:
        """Return what is being watched."""
        with self._looking:
            return list(self._signs)

    def look(self, key: str, sign: Hashable, longest_gap: float) -> float:
        """Note the sign that was just read, and return for how many seconds it has been watched unchanged.

        longest_gap: seconds since the last look after which the count begins again: this process was not listening.
        """
        now = time.monotonic()
        with self._looking:
            before, since, last = self._signs.get(key, (sign, now, now))
            if before != sign or now - last > longest_gap:
                since = now
            self._signs[key] = (sign, since, now)
        return now - since

    def forget(self, key: str) -> None:
        """Stop watching."""
        with self._looking:
            self._signs.pop(key, None)

    def restart(self) -> None:
        """Begin every count again: this process cannot tell now who is silent."""
        now = time.monotonic()
        with self._looking:
            self._signs = {key: (sign, now, now) for key, (sign, _, _) in self._signs.items()}
