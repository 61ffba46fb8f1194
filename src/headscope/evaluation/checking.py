"""Answer checking: from responses and gold answers to verdicts, bounded in time, memory and input size.

1. A response that was cut off is unfinished, whatever it says.
2. The stated answer is taken out by kind (``extraction``); none is unparsed, one above MAX_ANSWER characters
   is wrong.
3. Equal after normalisation or as a number is correct, clearly different numbers are wrong (``equality``). No process
   is needed for that.
4. What is left of kind ``math`` goes to math-verify in killable workers, each distinct (gold, answer) once.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from headscope.errors import InputError, suggestion
from headscope.evaluation.equality import is_same
from headscope.evaluation.extraction import stated_alias, stated_answer, stated_letter, stated_tokens
from headscope.progress import SILENT, Progress

Status = Literal["correct", "wrong", "unparsed", "unfinished", "timeout"]

MAX_ANSWER = 1000
"""Characters. The longest of MATH-500's golds has 53; a wall of digits is no answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one response. parsed: an answer was found and could be read; answer: its text, "" for none.

    status: correct | wrong | unparsed (no answer) | unfinished (cut off) | timeout (its check ran out of time
        or memory).
    """

    correct: bool
    parsed: bool
    answer: str
    status: Status


def check_answers(
    responses: Sequence[str],
    gold: Sequence[str],
    kind: str = "math",
    finished: Sequence[bool] | None = None,
    *,
    progress: Progress = SILENT,
) -> list[Verdict]:
    """One verdict per response.

    gold: one per response; for ``alias`` the accepted answers separated by newlines.
    kind: math (LaTeX, math-verify) | choice (a letter) | alias (TriviaQA's normalised match) | exact (tokens
        after ``<ans>``).
    finished: False marks a response cut off by the length limit; None takes all as finished.

    Raises InputError for an unknown kind or for lists of different length.
    """
    if kind not in _EXTRACT:
        raise InputError(f"answer kind {kind!r} does not exist{suggestion(kind, _EXTRACT)}")
    finished = [True] * len(responses) if finished is None else finished
    if not len(responses) == len(gold) == len(finished):
        raise InputError(
            f"{len(responses)} responses, {len(gold)} gold answers and {len(finished)} finish flags; "
            "allowed: as many of each"
        )
    answers = [_EXTRACT[kind](response) for response in responses]
    verdicts = [
        _without_workers(answer, truth, kind, done) for answer, truth, done in zip(answers, gold, finished, strict=True)
    ]
    pending = [index for index, verdict in enumerate(verdicts) if verdict is None]
    pairs = [(gold[index], answers[index]) for index in pending]
    compared = iter(_with_workers(pairs, progress))
    return [verdict if verdict is not None else next(compared) for verdict in verdicts]


def _without_workers(answer: str, gold: str, kind: str, finished: bool) -> Verdict | None:
    """The verdict, or None where only math-verify can tell."""
    if not finished:
        return Verdict(False, bool(answer), answer[:MAX_ANSWER], "unfinished")
    if not answer:
        return Verdict(False, False, "", "unparsed")
    if len(answer) > MAX_ANSWER:
        return _judged(False, answer[:MAX_ANSWER])
    same = is_same(answer, gold, kind)
    return None if same is None else _judged(same, answer)


def _with_workers(pairs: Sequence[tuple[str, str]], progress: Progress) -> list[Verdict]:
    if not pairs:
        return []
    from headscope.evaluation.math_pool import Comparison, shared_pool

    distinct = list(dict.fromkeys(pairs))
    compared = shared_pool().compare([(bare(gold), bare(answer)) for gold, answer in distinct], progress)
    outcomes = dict(zip(distinct, compared, strict=True))

    def verdict(answer: str, outcome: Comparison) -> Verdict:
        if outcome.exhausted:
            return Verdict(False, True, answer, "timeout")
        return _judged(outcome.equal, answer) if outcome.parsed else Verdict(False, False, answer, "unparsed")

    return [verdict(pair[1], outcomes[pair]) for pair in pairs]


def _judged(correct: bool, answer: str) -> Verdict:
    return Verdict(correct, True, answer, "correct" if correct else "wrong")


_DOLLAR = re.compile(r"(?<!\\)\$")


def bare(text: str) -> str:
    """Without dollar signs that would end the ``$…$`` the worker wraps each in (``\\$`` is money and stays)."""
    return _DOLLAR.sub("", text)


_EXTRACT: dict[str, Callable[[str], str]] = {
    "math": stated_answer,
    "choice": stated_letter,
    "alias": stated_alias,
    "exact": stated_tokens,
}
