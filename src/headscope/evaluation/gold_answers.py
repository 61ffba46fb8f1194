"""Find gold answers that cannot be read: no response could be judged equal to one except by its exact spelling."""

import re
from collections.abc import Sequence
from functools import lru_cache

from headscope.answers.numbers import exact_number
from headscope.errors import InputError
from headscope.evaluation.equality import normal_answer
from headscope.evaluation.tasks import LETTERS, Problem, Task

LISTED = 5
"""UnreadableError answers that the error lists; the rest are counted."""
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORDS = re.compile(r"[A-Za-z]{2,} +[A-Za-z]{2,}")


def unreadable_golds(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the problems whose gold answer cannot be read whole, or not in time; of kind ``choice``, those whose gold
    answer is no letter, of kind ``number`` no number, of kind ``math`` several lines with words.

    Words (``N/A``, ``May 5``) are read as words: only the same words equal them.
    """
    formulas = [
        problem.answer for problem in problems if problem.kind == "math" and exact_number(problem.answer) is None
    ]
    unparsed = _find_unparsed(tuple(dict.fromkeys(formulas)))

    def is_unreadable(problem: Problem) -> bool:
        if problem.kind == "choice":
            letter = normal_answer(problem.answer, "choice")
            return len(letter) != 1 or letter not in LETTERS
        if problem.kind == "number":
            return exact_number(normal_answer(problem.answer, "number")) is None
        if problem.kind == "math":
            return _is_solution(problem.answer) or problem.answer in unparsed
        return False

    return tuple(filter(is_unreadable, problems))


def _is_solution(answer: str) -> bool:
    """Return whether an answer is a worked solution, lines with words in them, which no stated answer equals."""
    return "\n" in answer.strip() and _WORDS.search(_COMMAND.sub(" ", answer)) is not None


def check_golds(task: Task) -> tuple[Problem, ...]:
    """Return the problems whose gold answer cannot be read.

    Raises InputError if there are any and the task does not allow them; it counts them and lists the first.
    """
    unreadable = unreadable_golds(task.problems)
    if unreadable and not task.allow_unreadable:
        listed = ", ".join(f"{problem.id} ({problem.answer[:40]!r})" for problem in unreadable[:LISTED])
        more = f" and {len(unreadable) - LISTED} more" if len(unreadable) > LISTED else ""
        raise InputError(
            f"task {task.name!r} has {len(unreadable)} of {len(task)} gold answers that cannot be read: {listed}{more}"
            "; correct them, set the kind they are of, or allow them with allow_unreadable: true beside the file"
        )
    return unreadable


# Cached because every checkpoint of a study is asked the same problems.
@lru_cache(maxsize=64)
def _find_unparsed(golds: tuple[str, ...]) -> frozenset[str]:
    if not golds:
        return frozenset()
    from headscope.evaluation.math_pool import shared_pool

    # Each is compared with itself: the worker says of both sides whether it could parse them.
    comparisons = shared_pool().compare([(gold, gold) for gold in golds])
    return frozenset(
        gold
        for gold, comparison in zip(golds, comparisons, strict=True)
        if comparison.exhausted or not comparison.parsed
    )
