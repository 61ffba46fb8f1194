"""The one family of errors a user can mend: a sentence that names the input, its value and what is allowed.

The command line prints such an error without a traceback and exits with 2; every other exception keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's input that cannot be used; the message is one sentence to act on."""


class MachineError(RuntimeError):
    """Something that a machine did, such as killing a worker process; the same call may succeed next time."""


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return the tail of a sentence about a misspelt ``name``: `` (did you mean 'x'?)``, or the allowed names.

    >>> suggestion("learning_rat", ["learning_rate", "epochs"])
    " (did you mean 'learning_rate'?)"
    >>> suggestion("zzz", ["a", "b"])
    ' (allowed: a, b)'
    """
    choices = sorted(allowed)
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else f" (allowed: {', '.join(choices)})"


def count_noun(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one.

    >>> count_noun(1, "weight")
    '1 weight'
    >>> count_noun(2, "weight")
    '2 weights'
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
