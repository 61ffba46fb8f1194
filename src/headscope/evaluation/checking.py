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
from typing import TYPE_CHECKING, Literal

from headscope.errors import InputError, suggestion
from headscope.evaluation.equality import is_same
from headscope.evaluation.extraction import stated_alias, stated_answer, stated_letter, stated_tokens
from headscope.progress import SILENT, Progress

if TYPE_CHECKING:
    from headscope.evaluation.math_pool import Comparison

Status = Literal["correct", "wrong", "unparsed", "unfinished", "timeout"]

MAX_ANSWER = 1000
"""Characters. The longest of MATH-500's golds has 53; a wall of digits is no answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one response.

    correct: the answer equals the gold one.
    parsed: an answer is stated and could be read.
    answer: its text, "" for none.
    status: correct | wrong | unparsed (no answer) | unfinished (cut off) | timeout (its check ran out of time or
        memory).
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
    """Return one verdict per response.

    Args:
        responses: the texts.
        gold: one per response; for ``alias`` the accepted answers separated by newlines.
        kind: math (LaTeX, math-verify) | choice (a letter) | alias (TriviaQA's normalised match) | exact (tokens after
            ``<ans>``).
        finished: False marks a response cut off by the length limit; None takes all as finished.
        progress: counts the pairs that math-verify compares.

    Raises:
        InputError: for an unknown kind or for lists of different length.
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
    verdicts: dict[int, Verdict] = {}
    pending: list[int] = []
    for index, answer in enumerate(answers):
        verdict = _check_without_workers(answer, gold[index], kind, finished[index])
        if verdict is None:
            pending.append(index)
        else:
            verdicts[index] = verdict
    # All at once: the workers are kept busy, and equal pairs are compared only once.
    pairs = [(gold[index], answers[index]) for index in pending]
    verdicts.update(zip(pending, _check_with_workers(pairs, progress), strict=True))
    return [verdicts[index] for index in range(len(answers))]


def _check_without_workers(answer: str, gold: str, kind: str, finished: bool) -> Verdict | None:
    """Return the verdict, or None if only math-verify can tell."""
    if not finished:
        return Verdict(False, bool(answer), answer[:MAX_ANSWER], "unfinished")
    if not answer:
        return Verdict(False, False, "", "unparsed")
    if len(answer) > MAX_ANSWER:
        return _verdict_on(answer[:MAX_ANSWER], correct=False)
    same = is_same(answer, gold, kind)
    return None if same is None else _verdict_on(answer, correct=same)


def _check_with_workers(pairs: Sequence[tuple[str, str]], progress: Progress) -> list[Verdict]:
    """Return the verdict on every (gold, answer), each distinct pair compared once."""
    if not pairs:
        return []
    from headscope.evaluation.math_pool import shared_pool

    distinct = list(dict.fromkeys(pairs))
    stripped = [(strip_dollars(gold), strip_dollars(answer)) for gold, answer in distinct]
    comparisons = shared_pool().compare(stripped, progress)
    verdicts = {pair: _verdict_of(pair[1], outcome) for pair, outcome in zip(distinct, comparisons, strict=True)}
    return [verdicts[pair] for pair in pairs]


def _verdict_of(answer: str, comparison: "Comparison") -> Verdict:
    if comparison.exhausted:
        return Verdict(False, True, answer, "timeout")
    if not comparison.parsed:
        return Verdict(False, False, answer, "unparsed")
    return _verdict_on(answer, correct=comparison.equal)


def _verdict_on(answer: str, *, correct: bool) -> Verdict:
    """Return the verdict on an answer that could be read."""
    return Verdict(correct, True, answer, "correct" if correct else "wrong")


_DOLLAR = re.compile(r"(?<!\\)\$")


def strip_dollars(text: str) -> str:
    """Remove the dollar signs that would end the ``$…$`` the worker wraps each in (``\\$`` is money and stays)."""
    return _DOLLAR.sub("", text)


_EXTRACT: dict[str, Callable[[str], str]] = {
    "math": stated_answer,
    "choice": stated_letter,
    "alias": stated_alias,
    "exact": stated_tokens,
}
