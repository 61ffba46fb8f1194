"""Problems whose answers training changed: all of them as a list, and for the clearest ones both answers to read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from headscope.plain_text import plain_text
from headscope.report.answer_marks import MARK_KINDS, AnswerReader, MarkedText, TextMark
from headscope.report.blocks import AnswerPairs
from headscope.report.run_results import Labels, RunResults
from headscope.report.tables.transitions import changed_problems, flip_columns, flips, transitions_by_task
from headscope.results.codec import Json
from headscope.results.table import display_text
from headscope.results.transitions import Transition, Transitions
from headscope.runs.records import Finished

PAIRS = 30
"""Problems per variant, task and step whose answers are in the report."""
MOST_PAIRS = 600
"""Problems whose answers are in one report, shared out equally among its comparisons."""
FEWEST_PAIRS = 4
"""Problems that every comparison shows, however many there are."""
TEXT_BUDGET = 3_000_000
"""Bytes of such answers in one report; the responses of the performance page have their own."""
_MARK_BYTES = 40
_WORD = re.compile(r"\s*(?:</?\w{1,24}>|\w{1,24}|\S)")


@dataclass(frozen=True)
class _Model:
    """The answers of one model to some problems of a task, by problem: dicts of ``Samples.load_responses``."""

    name: str
    answers: dict[str, list[dict[str, Json]]]
    reader: AnswerReader


@dataclass(frozen=True)
class _Comparison:
    """A comparison with the base. chosen: places in ``changed`` of the problems whose answers are to be read."""

    labels: Labels
    transitions: Transitions
    changed: list[Transition]
    chosen: list[int]

    @property
    def problems(self) -> list[str]:
        return [self.changed[place].problem for place in self.chosen]


def choose_answer_pairs(results: RunResults, count: int = PAIRS, budget: int = TEXT_BUDGET) -> AnswerPairs | None:
    """Return the changed problems of every comparison, up to ``count`` of each with both answers in full.

    Of many comparisons each shows at most its share of ``MOST_PAIRS``, but up to ``FEWEST_PAIRS`` in any case. The most
    significant changes come first, newly wrong and newly right ones in turn. An answer is never cut: a pair that does
    not fit into ``budget`` bytes is left out and counted. None if nothing was compared.
    """
    units = transitions_by_task(results)
    if not units:
        return None
    count = min(count, max(FEWEST_PAIRS, MOST_PAIRS // len(units)))
    groups: list[dict[str, Json]] = []
    for task, of_task in groupby(units, key=lambda unit: unit.labels["task"]):
        comparisons = [_comparison(unit, count) for unit in of_task]
        problems = dict.fromkeys(problem for comparison in comparisons for problem in comparison.problems)
        base = _load(results, {"variant": "base", "task": task}, list(problems))
        for comparison in comparisons:
            rows, used = _rows(results, comparison, base, budget // (len(units) - len(groups)))
            budget -= used
            variant, step = plain_text(str(comparison.labels["variant"])), comparison.labels["step"]
            name = plain_text(f"{task} · base → {variant} · step {step}")
            place = {"name": name, "task": plain_text(str(task)), "variant": variant, "step": step}
            groups.append({**place, "greedy": comparison.transitions.greedy, "flips": rows})
    left_out = sum("sides" not in row for group in groups for row in group["flips"])
    kinds = {name: {"icon": kind.icon, "name": kind.name} for name, kind in MARK_KINDS.items()}
    return AnswerPairs(tuple(groups), kinds, flips(results), left_out)


def _comparison(unit: Finished[Transitions], count: int) -> _Comparison:
    changed = changed_problems(unit.whole)
    return _Comparison(unit.labels, unit.whole, changed, _in_turn(changed)[:count])


def _rows(
    results: RunResults, comparison: _Comparison, before: _Model | None, budget: int
) -> tuple[list[dict[str, Json]], int]:
    """Return a row per changed problem, with ``sides`` if its answers are to be read, and their bytes."""
    rows: list[dict[str, Json]] = [_facts(transition) for transition in comparison.changed]
    after = _load(results, comparison.labels, comparison.problems)
    used = 0
    if before is None or after is None:
        return rows, used
    for place in comparison.chosen:
        transition = comparison.changed[place]
        sides, texts = [], []
        for model, is_right in ((before, not rows[place]["gained"]), (after, rows[place]["gained"])):
            answer = _shown_answer(model.answers[transition.problem], is_right)
            sides.append({"model": model.name, **_answer_facts(answer, model.reader)})
            texts.append(model.reader.marked(transition.problem, int(answer["sample"]), answer["response"]))
        size = sum(len(text.text.encode()) + _MARK_BYTES * len(text.marks) for text in texts)
        if used + size > budget:
            continue
        used += size
        are_first = sides[0]["sample"] == sides[1]["sample"] == 0
        name = "pivotal token" if comparison.transitions.greedy and are_first else MARK_KINDS["divergence"].name
        texts = _with_divergence(texts, name)
        rows[place]["token"] = transition.divergence if are_first else None
        rows[place]["sides"] = [side | _text_json(text) for side, text in zip(sides, texts, strict=True)]
    return rows, used


def _load(results: RunResults, labels: Labels, problems: Sequence[str]) -> _Model | None:
    """Return a model's answers to some problems; None if there are no problems or no such answers."""
    responses = results.responses(labels, problems) if problems else None
    traces = None if responses is None else results.trace_rows(labels, problems)
    if responses is None or traces is None:
        return None
    answers: dict[str, list[dict[str, Json]]] = {}
    for response in responses:
        answers.setdefault(response["problem"], []).append(response)
    return _Model(plain_text(str(labels["variant"])), answers, AnswerReader(*traces))


def _facts(transition: Transition) -> dict[str, Json]:
    columns = {name: plain_text(display_text(value)) for name, value in flip_columns(transition).items()}
    return columns | {"gained": transition.after > transition.before}


def _in_turn(changed: Sequence[Transition]) -> list[int]:
    """Return the places of changed problems, newly wrong and newly right in turn as long as there are both."""
    lost = [place for place, transition in enumerate(changed) if transition.after < transition.before]
    gained = [place for place, transition in enumerate(changed) if transition.after > transition.before]
    ranked = [(rank, place) for places in (lost, gained) for rank, place in enumerate(places)]
    return [place for _, place in sorted(ranked, key=lambda item: item[0])]


def _shown_answer(answers: Sequence[dict[str, Json]], is_right: bool) -> dict[str, Json]:
    """Return a problem's first answer that is right, or wrong: one that shows the change."""
    return next((answer for answer in answers if (answer["verdict"] == "correct") == is_right), answers[0])


def _answer_facts(answer: dict[str, Json], reader: AnswerReader) -> dict[str, Json]:
    read = reader.answer(answer["problem"], int(answer["sample"]))
    texts = {name: plain_text(answer[name]) for name in ("verdict", "finish", "answer", "gold")}
    return {**texts, "sample": int(answer["sample"]), "tokens": int(answer["tokens"]), "failure": read["failure"]}


def _text_json(text: MarkedText) -> dict[str, Json]:
    fold = text.fold
    marks = [[mark.start, mark.end, mark.kind, mark.label] for mark in text.marks]
    return {
        "text": text.text,
        "marks": marks,
        "fold": None if fold is None else [fold.start, fold.end, fold.label, fold.is_open],
    }


def _with_divergence(texts: Sequence[MarkedText], name: str) -> list[MarkedText]:
    """Return both texts with a mark on the word in which they begin to differ, if they do."""
    first, second = texts[0].text, texts[1].text
    length = min(len(first), len(second))
    place = next((index for index in range(length) if first[index] != second[index]), length)
    return [_mark_word(text, place, name) for text in texts]


def _mark_word(text: MarkedText, place: int, name: str) -> MarkedText:
    start = place
    while start > max(0, place - 24) and text.text[start - 1 : start + 1].isalnum() and place < len(text.text):
        start -= 1
    word = _WORD.match(text.text, start)
    if word is None or place >= len(text.text):
        return text
    mark = TextMark("divergence", start, word.end(), name)
    return replace(text, marks=tuple(sorted((*text.marks, mark), key=lambda mark: (mark.start, -mark.end))))
