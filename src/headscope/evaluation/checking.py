"""Check responses against gold answers, within bounds on time, memory and input size.

1. A response that was cut off, or whose thought never closes, is unfinished, whatever it says.
2. The stated answer is taken out by kind (``extraction``, ``letters``); none is unparsed, one above MAX_ANSWER
   characters is wrong.
3. Equal after normalisation is correct; of kind ``math``, one that cannot be read whole is wrong (``answers``), and
   numbers are compared by value (``equality``). No process is needed for that.
4. Formulas go to SymPy in killable workers, each distinct (gold, answer) once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from headscope.answers.reading import UnreadableError
from headscope.errors import InputError, suggestion
from headscope.evaluation.equality import is_same
from headscope.evaluation.extraction import is_still_thinking, last_number, stated_alias, stated_answer, stated_tokens
from headscope.evaluation.letters import stated_letter
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
    parsed: an answer is stated and could be read whole.
    answer: its text, "" for none.
    status: correct | wrong | unparsed (no answer) | unfinished (cut off, or still thinking) | timeout (its check ran
        out of CPU time or memory).
    """

    correct: bool
    parsed: bool
    answer: str
    status: Status


def check_answers(
    responses: Iterable[object],
    gold: Iterable[object],
    kind: str = "math",
    finished: Iterable[object] | None = None,
    *,
    progress: Progress = SILENT,
) -> list[Verdict]:
    """Return one verdict per response.

    Args:
        responses: the texts.
        gold: one per response; for ``alias`` the accepted answers separated by newlines.
        kind: math (LaTeX and what people type for it) | choice (a letter) | alias (TriviaQA's normalised match) |
            number (the last one) | exact (tokens after ``<ans>``).
        finished: False marks a response cut off by the length limit; None takes all as finished.
        progress: counts the pairs that SymPy compares.

    Raises:
        InputError: for an unknown kind, lists of different length, or anything in them but texts and flags.
        MachineError: if the machine kills one checking process after the other. Nothing is judged then.
    """
    if kind not in _EXTRACT:
        raise InputError(f"answer kind {kind!r} does not exist{suggestion(kind, _EXTRACT)}")
    texts, golds = _texts("responses", responses), _texts("gold", gold)
    flags = [True] * len(texts) if finished is None else finish_flags(finished)
    if not len(texts) == len(golds) == len(flags):
        raise InputError(
            f"{len(texts)} responses, {len(golds)} gold answers and {len(flags)} finish flags; allowed: as many of each"
        )
    answers = [_EXTRACT[kind](text) for text in texts]
    verdicts: dict[int, Verdict] = {}
    pending: list[int] = []
    for index, answer in enumerate(answers):
        is_finished = flags[index] and not is_still_thinking(texts[index])
        verdict = _check_without_workers(answer, golds[index], kind, is_finished)
        if verdict is None:
            pending.append(index)
        else:
            verdicts[index] = verdict
    # All at once: the workers are kept busy, and equal pairs are compared only once.
    pairs = [(golds[index], answers[index]) for index in pending]
    verdicts.update(zip(pending, _check_with_workers(pairs, progress), strict=True))
    return [verdicts[index] for index in range(len(answers))]


def _texts(name: str, values: Iterable[object]) -> list[str]:
    if isinstance(values, str):
        raise InputError(f"{name} are the text {values!r:.60}; give a list of texts")
    texts = []
    for value in values:
        if not isinstance(value, str):
            raise InputError(f"{name} hold {value!r}, which is no text; write answers as texts")
        texts.append(value)
    return texts


def finish_flags(values: Iterable[object]) -> list[bool]:
    """Return the flags of finished responses. Raises InputError if one is a word, such as ``length``, or a number."""
    flags = list(values)
    if others := [flag for flag in flags if not isinstance(flag, bool | np.bool_)]:
        raise InputError(f"a finish flag is {others[0]!r}; give True for finished and False for cut off")
    return [bool(flag) for flag in flags]


def _check_without_workers(answer: str, gold: str, kind: str, finished: bool) -> Verdict | None:
    """Return the verdict, or None if only SymPy can tell."""
    if not finished:
        return Verdict(False, bool(answer), answer[:MAX_ANSWER], "unfinished")
    if not answer:
        return Verdict(False, False, "", "unparsed")
    if len(answer) > MAX_ANSWER:
        return _verdict_on(answer[:MAX_ANSWER], correct=False)
    try:
        same = is_same(answer, gold, kind)
    except UnreadableError:
        return Verdict(False, False, answer, "wrong")
    return None if same is None else _verdict_on(answer, correct=same)


def _check_with_workers(pairs: Sequence[tuple[str, str]], progress: Progress) -> list[Verdict]:
    """Return the verdict on every (gold, answer), each distinct pair compared once."""
    if not pairs:
        return []
    from headscope.evaluation.math_pool import shared_pool

    distinct = list(dict.fromkeys(pairs))
    comparisons = shared_pool().compare(distinct, progress)
    verdicts = {pair: _verdict_of(pair[1], outcome) for pair, outcome in zip(distinct, comparisons, strict=True)}
    return [verdicts[pair] for pair in pairs]


def _verdict_of(answer: str, comparison: "Comparison") -> Verdict:
    if comparison.exhausted:
        return Verdict(False, True, answer, "timeout")
    return Verdict(comparison.equal, comparison.parsed, answer, "correct" if comparison.equal else "wrong")


def _verdict_on(answer: str, *, correct: bool) -> Verdict:
    """Return the verdict on an answer that could be read."""
    return Verdict(correct, True, answer, "correct" if correct else "wrong")


_EXTRACT: dict[str, Callable[[str], str]] = {
    "math": stated_answer,
    "number": last_number,
    "choice": stated_letter,
    "alias": stated_alias,
    "exact": stated_tokens,
}
