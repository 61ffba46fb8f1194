"""Marks: where in an answer something happened, from the steps it was read into. The page underlines them and
``headscope traces`` puts their icons before the steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headscope.plain_text import plain_text
from headscope.traces.loops import recurring_steps
from headscope.traces.reading import SHORTEST_RECURRENCE
from headscope.traces.text_steps import CLOSE, OPEN

Row = Mapping[str, Any]
"""One row of ``Traces.answers`` or ``Traces.steps``."""

THOUGHT_OPEN = 200
"""Tokens up to which a thought is shown unfolded at first."""


@dataclass(frozen=True, slots=True)
class MarkKind:
    """Icon and meaning of a mark. icon: one character. meaning: for the legend."""

    icon: str
    name: str
    meaning: str


MARK_KINDS = {
    "slip": MarkKind("✗", "slip", "a step that does not follow, and nothing later puts it right"),
    "repaired": MarkKind("✎", "repaired slip", "a step that does not follow, put right later"),
    "recheck": MarkKind("↻", "re-check", "something is done or looked at again"),
    "right": MarkKind("✓", "right answer first stated", "here the answer could have ended"),
    "answer": MarkKind("▸", "answer", "states an answer"),
    "loop": MarkKind("∞", "loop", "the answer repeats itself from here on, or this step comes three times or more"),
    "divergence": MarkKind("◆", "first difference", "the first word in which the two answers differ"),
}
"""By name, in the order of the legend."""


@dataclass(frozen=True, slots=True)
class TextMark:
    """A mark on an answer's text. kind: of MARK_KINDS. start, end: Unicode code points. label: what it says."""

    kind: str
    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Fold:
    """The thought of an answer, from ``start`` to ``end``. label: ``thought, 312 tokens``."""

    start: int
    end: int
    label: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class MarkedText:
    """An answer as people read it, without what would control a terminal, with its marks at the right places."""

    text: str
    marks: tuple[TextMark, ...]
    fold: Fold | None


class AnswerReader:
    """The answers and steps of traces, by problem and sample.

    Args:
        answers, steps: rows of ``Traces.answers`` and ``Traces.steps``, of one model and task.
    """

    def __init__(self, answers: Iterable[Row], steps: Iterable[Row]) -> None:
        self._answers = _by_answer(answers)
        self._steps = _by_answer(steps)

    def answer(self, problem: str, sample: int) -> Row:
        """Return the row of one answer."""
        return self._answers[problem, sample][0]

    def steps(self, problem: str, sample: int) -> Sequence[Row]:
        """Return the steps of one answer, in order."""
        return self._steps.get((problem, sample), [])

    def marked(self, problem: str, sample: int, response: str) -> MarkedText:
        """Return one answer's text with its marks."""
        steps = self.steps(problem, sample)
        marks = answer_marks(response, self.answer(problem, sample), steps)
        return plain_marked(response, marks, find_thought(response, steps))


def _by_answer(rows: Iterable[Row]) -> dict[tuple[str, int], list[Row]]:
    by_answer: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        by_answer.setdefault((row["problem"], row["sample"]), []).append(row)
    return by_answer


def answer_marks(response: str, answer: Row, steps: Sequence[Row]) -> list[TextMark]:
    """Return the marks of an answer in the order of their places.

    Args:
        response: its text.
        answer: its row of ``Traces.answers``.
        steps: its rows of ``Traces.steps``, in order.
    """
    marks = []
    for step in steps:
        marks += [TextMark(kind, step["start"], step["end"], label) for kind, label in step_marks(answer, step)]
    marks += loop_marks(response, answer, steps)
    return sorted(marks, key=lambda mark: (mark.start, -mark.end))


def step_marks(answer: Row, step: Row) -> list[tuple[str, str]]:
    """Return the kinds of marks on one step, each with what it says."""
    marks = []
    if step["slip"]:
        kind = "repaired" if step["repaired"] else "slip"
        marks.append((kind, f"{MARK_KINDS[kind].name}: {step['slip']}"))
    if step["recheck"] or "verification" in step["marks"].split("\n"):
        change = f", {step['change']}" if step["change"] else ""
        marks.append(("recheck", MARK_KINDS["recheck"].name + change))
    if step["answers"]:
        is_first = step["step"] == answer["solved_at"]
        judged = "right" if step["right"] else "not the right one"
        marks.append(("right", MARK_KINDS["right"].name) if is_first else ("answer", f"answer, {judged}"))
    return marks


def loop_marks(response: str, answer: Row, steps: Sequence[Row]) -> list[TextMark]:
    """Return where an answer repeats itself: its periodic tail, or else every step that comes again and again."""
    if not answer["loop"]:
        return []
    if (start := loop_start(answer, steps)) is not None:
        return [TextMark("loop", start, steps[-1]["end"], f"loop, every {answer['loop_period']} tokens")]
    longer = [
        step for step in steps if step["role"] != "sentence" or step["end"] - step["start"] >= SHORTEST_RECURRENCE
    ]
    places = recurring_steps([response[step["start"] : step["end"]] for step in longer])
    marks = []
    for indices in places.values():
        label = f"loop, {len(indices)} times"
        marks += [TextMark("loop", longer[index]["start"], longer[index]["end"], label) for index in indices]
    return marks


def loop_start(answer: Row, steps: Sequence[Row]) -> int | None:
    """Return the character at which the step begins in which a periodic tail begins; None if that is unknown."""
    start = answer["loop_start"]
    if start < 0:
        return None
    return next((int(step["start"]) for step in steps if step["last_token"] > start), None)


def find_thought(response: str, steps: Sequence[Row]) -> Fold | None:
    """Return where the thought of an answer is, between its markers; None if it has none."""
    thought = [step for step in steps if step["part"] == "thinking"]
    if not thought:
        return None
    first, last = thought[0], thought[-1]
    length, unit = last["end"] - first["start"], "characters"
    if first["first_token"] >= 0:
        length, unit = last["last_token"] - first["first_token"], "tokens"
    opening = response.rfind(OPEN, 0, first["start"])
    closing = response.find(CLOSE, last["end"])
    start = 0 if opening < 0 else opening + len(OPEN)
    end = len(response) if closing < 0 else closing
    return Fold(start, end, f"thought, {length:,} {unit}", length <= THOUGHT_OPEN)


def plain_marked(response: str, marks: Sequence[TextMark], fold: Fold | None = None) -> MarkedText:
    """Return an answer and its marks after ``plain_text``, which takes characters out and so moves places."""
    ends = {place for mark in marks for place in (mark.start, mark.end)} | {0, len(response)}
    if fold is not None:
        ends |= {fold.start, fold.end}
    # plain_text decides on every character by itself, so that pieces can be cut anywhere.
    moved, pieces, length, before = {}, [], 0, 0
    for place in sorted(ends):
        piece = plain_text(response[before:place])
        pieces.append(piece)
        length += len(piece)
        moved[place], before = length, place
    placed = [TextMark(mark.kind, moved[mark.start], moved[mark.end], plain_text(mark.label)) for mark in marks]
    if fold is not None:
        fold = Fold(moved[fold.start], moved[fold.end], fold.label, fold.is_open)
    return MarkedText("".join(pieces), tuple(mark for mark in placed if mark.end > mark.start), fold)
