"""Candidates for pairs: which can be one, and how many could not, by reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headscope.errors import InputError
from headscope.pairs.tokens import Tokens


@dataclass(frozen=True)
class Candidate:
    """Token ids of what both texts begin with, and of how each goes on."""

    prompt: Sequence[int]
    clean: Sequence[int]
    corrupt: Sequence[int]

    def cut(self, k: int | None) -> "Candidate":
        """Both continuations cut to their first ``k`` tokens; None leaves them whole."""
        return Candidate(self.prompt, self.clean[:k], self.corrupt[:k])

    def rows(self) -> tuple[Tokens, Tokens]:
        """The clean and the corrupt text."""
        texts = ([*self.prompt, *self.clean], [*self.prompt, *self.corrupt])
        return np.array(texts[0], dtype=np.int64), np.array(texts[1], dtype=np.int64)

    def fault(self, k: int | None) -> str:
        """Why this can be no pair; empty where it can. With ``k``, both continuations need as many tokens."""
        if k is not None and len(self.clean) < k:
            return "short clean opening"
        if k is not None and len(self.corrupt) < k:
            return "short corrupt opening"
        cut = self.cut(k)
        if len(cut.clean) != len(cut.corrupt):
            return "unequal length"
        same = list(cut.clean) == list(cut.corrupt)
        return ("equal text" if k is None else "equal opening") if same else ""


def usable(candidates: Sequence[Candidate], k: int | None) -> tuple[list[int], dict[str, int]]:
    """Which candidates can be pairs, and how many of the others there are, by reason.

    Raises InputError where k is below 1 or none can.
    """
    if k is not None and k < 1:
        raise InputError(f"found k={k}; openings are cut to their first k tokens, at least 1")
    faults = [candidate.fault(k) for candidate in candidates]
    dropped = Counter(fault for fault in faults if fault)
    kept = [index for index, fault in enumerate(faults) if not fault]
    if not kept:
        why = ", ".join(f"{count} because of {reason}s" for reason, count in dropped.items())
        cut = "" if k is None else f" (openings are cut to k={k} tokens)"
        raise InputError(f"no pair is left of {len(candidates)} candidates: {why or 'none was given'}{cut}")
    return kept, dict(dropped)
