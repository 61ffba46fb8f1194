"""Traces: every step of every response, and a row per response; and their summary, with intervals.

On disk: ``steps.parquet``, ``answers.parquet`` with ``answers.json`` (schema version, model, task, reader, notes), and
``summary.json``.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import pandas as pd

from headscope import display
from headscope.errors import InputError
from headscope.results import frames, plots
from headscope.results.estimate import Estimate
from headscope.results.parquet import Rows, read_rows, reading_table
from headscope.results.result import JsonResult
from headscope.storage import Result, read_head, replacing, replacing_described

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reader = Literal["lab", "text"]
NO_TOKEN_POSITIONS = "steps have no token positions"
"""Part of the notes of traces whose steps are placed in the text alone."""

ANSWER_COLUMNS = {
    "problem": "str",
    "group": "str",
    "sample": "int64",
    "verdict": "str",
    "failure": "str",
    "tokens": "int64",
    "steps": "int64",
    "rechecks": "int64",
    "slips": "int64",
    "slip": "str",
    "lost": "bool",
    "solved_at": "int64",
    "tokens_to_right": "int64",
    "right_to_wrong": "int64",
    "wrong_to_right": "int64",
    "abandoned_tokens": "int64",
    "loop": "bool",
    "loop_start": "int64",
    "loop_period": "int64",
    "checked": "int64",
    "unchecked": "int64",
}
STEP_COLUMNS = {
    "problem": "str",
    "sample": "int64",
    "step": "int64",
    "part": "str",
    "start": "int64",
    "end": "int64",
    "first_token": "int64",
    "last_token": "int64",
    "role": "str",
    "recheck": "bool",
    "change": "str",
    "slip": "str",
    "repaired": "bool",
    "value": "str",
    "answers": "bool",
    "right": "bool",
    "marks": "str",
}


@dataclass(frozen=True, eq=False)
class Traces(Result):
    """The responses of one model to one task, read.

    answers: one row per response, in the order of ``Samples``, with the columns
        problem, group, sample, verdict, tokens: as in ``Samples``.
        failure: why it is wrong, "" if it is right (``traces.reading.FAILURES``).
        steps, rechecks, slips: how many.
        slip: kind of the first one that nothing puts right, "" for none.
        lost: whether it is wrong and had stated the right answer.
        solved_at: the first step that states the right answer, −1 for none.
        tokens_to_right: up to that step's end, −1 for none or unknown.
        right_to_wrong, wrong_to_right: changes of the stated answer.
        abandoned_tokens: of a wrong answer, those before its last step with a sign of backtracking, −1 if unknown; 0 of
            a right one.
        loop: whether it repeats itself.
        loop_start, loop_period: of a periodic tail, in tokens, −1 for none.
        checked, unchecked: calculations that could be checked, and that could not.
    steps: one row per step, with the columns problem, sample, step: its number; right: of a step that states an answer,
        whether it is the right one; role: the kind in ``traces.steps.Step``; marks: separated by newlines; the others
        as there.
    reader: ``lab`` if every statement was judged by its problem, ``text`` for running text.
    notes: sentences on what could not be read.

    Raises InputError for a missing column.
    """

    kind: ClassVar[str] = "traces"
    schema: ClassVar[int] = 1
    rows: ClassVar[Mapping[str, str]] = {"": "answers"}

    answers: pd.DataFrame
    steps: pd.DataFrame
    model: str
    task: str
    reader: Reader
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", _typed(self.answers, ANSWER_COLUMNS, "answers"))
        object.__setattr__(self, "steps", _typed(self.steps, STEP_COLUMNS, "steps"))

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traces):
            return NotImplemented
        same = (self.model, self.task, self.reader, self.notes) == (other.model, other.task, other.reader, other.notes)
        return same and self.answers.equals(other.answers) and self.steps.equals(other.steps)

    def __repr__(self) -> str:
        wrong = int((self.answers["failure"] != "").sum())
        return display.line(
            self,
            f"{self.model} on {self.task}",
            f"{len(self.answers)} answers, {wrong} wrong",
            f"{len(self.steps)} steps",
        )

    def _repr_html_(self) -> str:
        return display.table(repr(self), frames.records(self))

    def plot(self) -> "Figure":
        """Return the numbers of right answers and of wrong ones by kind."""
        kinds = Counter(kind or "right" for kind in self.answers["failure"])
        title = f"Answers, {self.model} on {self.task}"
        return plots.bars(title, sort_counts(kinds), "answers")

    def save(self, directory: Path | str) -> None:
        """Write the files into ``directory`` (created if absent)."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        head = {
            "schema_version": self.schema,
            "model": self.model,
            "task": self.task,
            "reader": self.reader,
            "notes": list(self.notes),
        }
        with replacing(folder / "steps.parquet") as partial:
            self.steps.to_parquet(partial, index=False)
        with replacing_described(folder / "answers.parquet", json.dumps(head, indent=1, allow_nan=False)) as partial:
            self.answers.to_parquet(partial, index=False)

    @classmethod
    def load(cls, directory: Path | str, problems: Collection[str] | None = None) -> "Traces":
        """Read what ``save`` wrote, or the part on some problems: the steps of all may not fit in memory.

        Raises InputError if it is missing, damaged or of a newer schema.
        """
        folder = Path(directory)
        head = _read_head(folder)
        answers = _read_table(folder / "answers.parquet", ANSWER_COLUMNS, problems)
        steps = _read_table(folder / "steps.parquet", STEP_COLUMNS, problems)
        return cls(answers, steps, head["model"], head["task"], head["reader"], tuple(head["notes"]))

    @staticmethod
    def load_rows(directory: Path | str, problems: Collection[str]) -> tuple[Rows, Rows]:
        """Read the rows on some problems, a dict each, of ``answers`` and of ``steps``, in the tables' order.

        Raises InputError if the files are missing, damaged or of a newer schema.
        """
        folder = Path(directory)
        _read_head(folder)
        answers = read_rows(folder / "answers.parquet", "table", tuple(ANSWER_COLUMNS), "problem", problems)
        return answers, read_rows(folder / "steps.parquet", "table", tuple(STEP_COLUMNS), "problem", problems)

    def rows_on(self, problems: Collection[str]) -> tuple[Rows, Rows]:
        """Return what ``load_rows`` reads, of traces that are in memory."""
        answers = self.answers[self.answers["problem"].isin(list(problems))].to_dict("records")
        steps = self.steps[self.steps["problem"].isin(list(problems))].to_dict("records")
        return cast("Rows", answers), cast("Rows", steps)


def _read_head(folder: Path) -> dict[str, Any]:
    return read_head(folder / "answers.json", "traces", Traces.schema, ("model", "task", "reader", "notes"))


def _typed(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> pd.DataFrame:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"a table of traces' {name} lacks the columns {missing}; it has {list(table.columns)}")
    table = table[list(columns)]
    dtypes = table.dtypes
    others = {column: kind for column, kind in columns.items() if dtypes[column] != kind}
    return table.astype(others) if others else table


def _read_table(path: Path, columns: Mapping[str, str], problems: Collection[str] | None) -> pd.DataFrame:
    chosen = None if problems is None else [("problem", "in", list(problems))]
    with reading_table(path, "table"):
        return _typed(pd.read_parquet(path, filters=chosen), columns, path.stem)


@dataclass(frozen=True, slots=True)
class SplitAccuracy:
    """Numbers of right answers among those with a trait and among those without.

    group: tier or level of their problems, "" for none.
    right_with, answers_with: of answers with it; right_without, answers_without: of the others.
    """

    group: str
    right_with: int
    answers_with: int
    right_without: int
    answers_without: int


@dataclass(frozen=True, slots=True)
class GroupAnswers:
    """Answers to the problems of one tier or level.

    group: its name. answers, right: how many. lost, loop, slip: how many have that trait, as in ``TraceSummary``.
    tokens_right, tokens_wrong: mean length of the right and of the wrong ones; None if there are none. Lengths are
        separated by correctness, because wrong answers are longer in general.
    """

    group: str
    answers: int
    right: int
    lost: int
    loop: int
    slip: int
    tokens_right: float | None
    tokens_wrong: float | None


@dataclass(frozen=True, slots=True)
class MarkUse:
    """Frequency of a strategy's signs in answers, and of right answers with and without them; no proof of a cause.

    per_1000: steps with a sign, per 1,000 tokens; NaN if no tokens were kept. splits: one per group.
    difference: P(right | sign) − P(right | none), each group weighed by its answers with a sign; None if one side is
        empty in every group.
    """

    mark: str
    per_1000: float
    splits: tuple[SplitAccuracy, ...]
    difference: Estimate | None


@dataclass(frozen=True, eq=False)
class TraceSummary(JsonResult):
    """Summary of one model's answers to one task.

    problems, samples: how many, and answers to each. right: right answers among all.
    lost, loop, slip: shares of all answers that had stated the right answer and end wrong; that repeat themselves;
        that have a slip nothing puts right.
    lost_of_wrong: of a problem's wrong answers, the share that had stated the right one, mean over the problems that
        have a wrong answer.
    efficiency: of right answers, the share of their tokens up to the first right statement (arXiv 2412.21187), mean
        over problems; wasted_tokens: tokens after it. None without a right answer or token positions.
    groups: the same by tier or level.
    failures: wrong answers by kind. slips: steps by kind of slip, repaired ones included.
    rechecks: right answers with and without a re-check, per group.
    recheck_difference: P(right | re-check) − P(right | none), each group weighed by its answers with one; None if no
        group has both.
    abandoned_tokens: of wrong answers, tokens of approaches that were given up, mean over problems; None if unknown.
    marks: of the lexicon; empty for lab answers.
    checked, unchecked: calculations that were, and that could not be checked.
    reader, notes: as in ``Traces``.
    """

    kind: ClassVar[str] = "traces"
    file: ClassVar[str] = "summary.json"

    reader: Reader
    problems: int
    samples: int
    right: int
    lost: Estimate
    loop: Estimate
    slip: Estimate
    lost_of_wrong: Estimate
    efficiency: Estimate | None
    wasted_tokens: Estimate | None
    groups: tuple[GroupAnswers, ...]
    failures: dict[str, int]
    slips: dict[str, int]
    rechecks: tuple[SplitAccuracy, ...]
    recheck_difference: Estimate | None
    abandoned_tokens: Estimate | None
    marks: tuple[MarkUse, ...]
    checked: int
    unchecked: int
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        failures = ", ".join(f"{count} {name}" for name, count in self.failures.items())
        counts = f"{self.right} right, {self.wrong} wrong{f' ({failures})' if failures else ''}"
        shares = ", ".join(f"{name} {getattr(self, name)}" for name in ("lost", "loop", "slip"))
        return display.line(self, f"{self.problems} problems × {self.samples}", counts, shares, *self.notes)

    @property
    def answers(self) -> int:
        """Return the number of answers."""
        return self.problems * self.samples

    @property
    def wrong(self) -> int:
        """Return the number of wrong answers."""
        return self.answers - self.right

    def plot(self) -> "Figure":
        """Return the kinds of wrong answers."""
        return plots.bars(f"Wrong answers by kind, {self.problems} × {self.samples} answers", self.failures, "answers")


def sort_counts(values: Mapping[str, Any]) -> dict[str, int]:
    """Return counts as plain numbers, most frequent first, ties by name."""
    return {name: int(count) for name, count in sorted(values.items(), key=lambda item: (-item[1], item[0]))}
