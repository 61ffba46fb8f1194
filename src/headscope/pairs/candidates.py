"""Candidates for pairs: those that can be pairs, and the number of others by reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headscope.errors import InputError
from headscope.pairs.tokens import Tokens


@dataclass(frozen=True)
class Candidate:
    """Token ids of a prompt, and of its clean and its corrupt continuation."""

    prompt: Sequence[int]
    clean: Sequence[int]
    corrupt: Sequence[int]

    def cut(self, k: int | None) -> "Candidate":
        """Return the candidate with both continuations cut to their first ``k`` tokens; None leaves them whole."""
        return Candidate(self.prompt, self.clean[:k], self.corrupt[:k])

    def clean_text(self) -> Tokens:
        """Return prompt and clean continuation as one row."""
        return np.array([*self.prompt, *self.clean], dtype=np.int64)

    def corrupt_text(self) -> Tokens:
        """Return prompt and corrupt continuation as one row."""
        return np.array([*self.prompt, *self.corrupt], dtype=np.int64)

    def fault(self, k: int | None) -> str:
        """Return why this cannot be a pair, empty if it can; with ``k``, both continuations need at least k tokens."""
        if k is not None and len(self.clean) < k:
            return "short clean opening"
        if k is not None and len(self.corrupt) < k:
            return "short corrupt opening"
        cut = self.cut(k)
        if len(cut.clean) != len(cut.corrupt):
            return "unequal length"
        if list(cut.clean) == list(cut.corrupt):
            return "equal text" if k is None else "equal opening"
        return ""


def usable_candidates(candidates: Sequence[Candidate], k: int | None) -> tuple[list[int], dict[str, int]]:
    """Return the indices of the candidates that can be pairs, and the number of others by reason.

    Raises InputError if k is below 1 or no candidate is left.
    """
    if k is not None and k < 1:
        raise InputError(f"found k={k}; openings are cut to their first k tokens, at least 1")
    usable = []
    dropped: Counter[str] = Counter()
    for index, candidate in enumerate(candidates):
        fault = candidate.fault(k)
        if fault:
            dropped[fault] += 1
        else:
            usable.append(index)
    if not usable:
        reasons = ", ".join(f"{count} because of {reason}s" for reason, count in dropped.items())
        cut = "" if k is None else f" (openings are cut to k={k} tokens; a smaller discover.opening_tokens keeps more)"
        raise InputError(f"no pair is left of {len(candidates)} candidates: {reasons or 'none was given'}{cut}")
    return usable, dict(dropped)
