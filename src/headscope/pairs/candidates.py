"""Candidates for pairs: which of them can be one, and how many cannot, by reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headscope.errors import InputError
from headscope.pairs.tokens import Tokens


@dataclass(frozen=True)
class Candidate:
    """Token ids of the prompt that both texts begin with, and of how each goes on."""

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
        """Return why this can be no pair, or nothing if it can. With ``k``, both continuations need as many tokens."""
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
    """Return which candidates can be pairs, and how many of the others there are, by reason.

    Raises InputError if k is below 1 or no candidate can.
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
