"""The answers of a run as ``headscope traces`` reads them: from its traces, or, in a run that was made before there
were any, from the samples themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from headscope.errors import InputError, suggestion
from headscope.progress import Progress
from headscope.report.answer_marks import MARK_KINDS, AnswerReader, Row, find_thought, loop_marks, step_marks
from headscope.report.run_results import RunResults, model_name
from headscope.results.codec import Json
from headscope.results.samples import Samples
from headscope.results.traces import Traces, TraceSummary
from headscope.runs import RunDirectory
from headscope.runs.records import Finished

_MOST_NAMES = 10
"""Problems that a message lists."""

Line = tuple[str, str, str]
"""Icons of the marks on a piece of text, the text, and what the marks say."""


@dataclass(frozen=True)
class MarkedAnswer:
    """One answer, cut at its steps. place: model, step, task; lines: its pieces in order."""

    place: dict[str, Json]
    facts: dict[str, Json]
    lines: tuple[Line, ...]
    steps: tuple[Row, ...]

    @property
    def gold(self) -> str:
        """Return the accepted answers, separated by newlines."""
        return str(self.facts["gold"])

    @property
    def title(self) -> str:
        """Return whose answer it is and how it ended."""
        facts, place = self.facts, self.place
        ending = f"{facts['verdict']} ({facts['failure']})" if facts["failure"] else facts["verdict"]
        return f"{place['model']}, step {place['step']}, sample {facts['sample']}: {ending}, {facts['tokens']} tokens"

    def as_json(self) -> dict[str, Json]:
        """Return the answer with its steps."""
        return self.place | self.facts | {"steps": list(self.steps)}


@dataclass(frozen=True, eq=False)
class SavedAnswers:
    """The answers of one model to one task."""

    run: RunDirectory
    unit: Finished[Samples]
    progress: Progress

    @property
    def labels(self) -> dict[str, Json]:
        """Return variant, step and task."""
        return self.unit.labels

    @property
    def place(self) -> dict[str, Json]:
        """Return ``labels`` as they are printed."""
        return {"model": model_name(self.labels), "step": self.labels["step"], "task": self.labels["task"]}

    @property
    def name(self) -> str:
        """Return ``labels`` in words; of answers without a marker they say so."""
        return f"{model_name(self.labels)}, step {self.labels['step']}, on {self.labels['task']}"

    @cached_property
    def samples(self) -> Samples:
        """Return the answers themselves."""
        return self.unit.read()

    def read_traces(self, problems: Sequence[str] | None = None) -> Traces:
        """Return the steps of answers to some problems, or to all, without keeping them."""
        saved = RunResults(self.run).traces(self.labels, problems)
        if saved is not None:
            return saved
        from headscope.studies.answers.traces import read_saved  # loads what reads problems and tokenizers

        return read_saved(self.run, self.unit, self.progress, problems)

    @cached_property
    def summary(self) -> TraceSummary:
        """Return what the answers have in common."""
        from headscope.traces.summary import summarise

        saved = RunResults(self.run).trace_summary(self.labels)
        return (
            saved if saved is not None else summarise(self.read_traces(), int(self.run.lock()["study"].get("seed", 0)))
        )

    def marked_answer(self, problem: str, sample: int) -> MarkedAnswer:
        """Return one answer with its marks."""
        reader = AnswerReader(*self.read_traces([problem]).rows_on([problem]))
        answer, steps = reader.answer(problem, sample), reader.steps(problem, sample)
        table = self.samples.table
        row = table[(table["problem"] == problem) & (table["sample"] == sample)].iloc[0]
        facts: dict[str, Json] = {name: row[name] for name in ("verdict", "answer", "gold", "response")}
        facts |= {name: answer[name] for name in ("sample", "tokens", "failure", "slip", "lost", "loop", "rechecks")}
        lines = tuple(_pieces(row["response"], answer, steps))
        return MarkedAnswer(self.place, facts, lines, tuple(dict(step) for step in steps))


def _pieces(response: str, answer: Row, steps: Sequence[Row]) -> list[Line]:
    """Return the response cut at its steps, nothing but spaces left out."""
    pieces: list[Line] = []
    place = 0
    thought = find_thought(response, steps)
    loops = {mark.start: mark.label for mark in loop_marks(response, answer, steps)}
    last_thought = max((step["end"] for step in steps if step["part"] == "thinking"), default=-1)
    for step in steps:
        if between := response[place : step["start"]].strip():
            pieces.append(("", between, ""))
        marks = step_marks(answer, step)
        if step["start"] in loops:
            marks.append(("loop", loops[step["start"]]))
        icons = "".join(MARK_KINDS[kind].icon for kind, _ in marks)
        remark = "; ".join(label for kind, label in marks if kind not in ("right", "answer"))
        pieces.append((icons, response[step["start"] : step["end"]], remark))
        place = step["end"]
        if thought is not None and place == last_thought:
            pieces.append(("", "", thought.label))
    if rest := response[place:].strip():
        pieces.append(("", rest, ""))
    return pieces


def choose_answers(
    run: RunDirectory, variants: Sequence[str], tasks: Sequence[str], progress: Progress
) -> list[SavedAnswers]:
    """Return the answers of the variants to the tasks; of all for none. Raises InputError if there are none."""
    units = RunResults(run).in_order(Samples)
    if not units:
        raise InputError(f"{run} has no answers yet: headscope eval draws them")
    for label, wanted, noun in (("variant", variants, "of variant"), ("task", tasks, "to task")):
        known = list(dict.fromkeys(str(unit.labels[label]) for unit in units))
        for name in wanted:
            if name not in known:
                raise InputError(f"{run} has no answers {noun} {name!r}{suggestion(name, known)}")
    chosen = [
        unit
        for unit in units
        if (not variants or unit.labels["variant"] in variants) and (not tasks or unit.labels["task"] in tasks)
    ]
    if not chosen:
        raise InputError(f"{run} has no answers of {' or '.join(variants)} to {' or '.join(tasks)}")
    return [SavedAnswers(run, unit, progress) for unit in chosen]


def answers_to_problem(
    run: RunDirectory, chosen: Sequence[SavedAnswers], problem: str, sample: int
) -> list[SavedAnswers]:
    """Return those of the chosen answers that are to a problem.

    Raises InputError if there are none, or if ``sample`` is not among them.
    """
    having_problem = [answers for answers in chosen if problem in answers.samples.problems]
    if not having_problem:
        names = list(dict.fromkeys(name for answers in chosen for name in answers.samples.problems))
        raise InputError(f"{run} has no answers to problem {problem!r}{_nearest(problem, names)}")
    least = min(answers.samples.correct.shape[1] for answers in having_problem)
    if sample >= least:
        raise InputError(f"--sample {sample} does not exist: problem {problem!r} has the samples 0-{least - 1}")
    return having_problem


def _nearest(problem: str, names: Sequence[str]) -> str:
    words = suggestion(problem, names)
    if len(names) <= _MOST_NAMES or not words.startswith(" (allowed"):
        return words
    return f" (there are {len(names)}, as {names[0]!r} and {names[-1]!r})"
