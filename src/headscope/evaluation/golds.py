"""Gold answers that cannot be read: no response could be found equal to one but by its exact spelling."""

from collections.abc import Sequence
from functools import lru_cache

from headscope.errors import InputError
from headscope.evaluation.equality import normal_answer, rational
from headscope.evaluation.tasks import LETTERS, Problem, Task

SHOWN = 5


def unreadable_golds(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The problems whose gold answer math-verify parses to nothing or not in time; of kind ``choice``, those whose gold
    answer is no letter.

    math-verify reads nearly anything: words (``N/A``, ``east``) are held against a response by their letters, and of
    ``12 apples`` it takes the 12. What it reads may not be what was meant.
    """
    worded = tuple(
        dict.fromkeys(each.answer for each in problems if each.kind == "math" and rational(each.answer) is None)
    )
    unparsed = _unparsed(worded)

    def is_unreadable(problem: Problem) -> bool:
        if problem.kind == "choice":
            letter = normal_answer(problem.answer, "choice")
            return len(letter) != 1 or letter not in LETTERS
        return problem.kind == "math" and problem.answer in unparsed

    return tuple(filter(is_unreadable, problems))


def check_golds(task: Task) -> tuple[Problem, ...]:
    """The problems whose gold answer cannot be read.

    Raises InputError where there are any and the task does not allow them; it counts them and lists the first.
    """
    found = unreadable_golds(task.problems)
    if found and not task.allow_unreadable:
        listed = ", ".join(f"{each.id} ({each.answer[:40]!r})" for each in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(
            f"task {task.name!r} has {len(found)} of {len(task)} gold answers that cannot be read: {listed}{more}; "
            "correct them, set the kind they are of, or allow them with allow_unreadable: true beside the file"
        )
    return found


@lru_cache(maxsize=64)
def _unparsed(golds: tuple[str, ...]) -> frozenset[str]:
    """Remembered: every checkpoint of a study is asked the same problems."""
    if not golds:
        return frozenset()
    from headscope.evaluation.checking import bare
    from headscope.evaluation.math_pool import shared_pool

    compared = shared_pool().compare([(bare(gold), bare(gold)) for gold in golds])
    return frozenset(gold for gold, found in zip(golds, compared, strict=True) if found.exhausted or not found.parsed)
