"""Read the answers that a study saved: a unit per samples unit, and the same for runs that were made before there were
such units. Arithmetic on text and token ids; no model is loaded."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from headscope.evaluation import check_answers
from headscope.evaluation.extraction import explicit_answer
from headscope.evaluation.letters import explicit_letter
from headscope.lab.statements import is_lab_prompt, judge
from headscope.progress import SILENT, Progress
from headscope.results.samples import Samples
from headscope.results.traces import ANSWER_COLUMNS, NO_TOKEN_POSITIONS, STEP_COLUMNS, Reader, Traces, TraceSummary
from headscope.runs import Inputs, RunDirectory, Unit, Work
from headscope.runs.records import Finished
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.models.tokenizer import tokenizer_of
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.traces.reading import Trace, read_text, read_trace
from headscope.traces.spans import Decode, TokenTexts
from headscope.traces.steps import Step
from headscope.traces.summary import summarise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 256
"""Answers read at a time."""
_STEP_FIELDS = [name for name in STEP_COLUMNS if name not in ("problem", "sample", "step", "role", "marks", "right")]


class TracesConfig(Config):
    """The model whose tokenizer decodes the answers, the task they answer, and the seed of the bootstrap."""

    model: ModelSource
    task: TaskSource
    seed: int


def compute_traces(config: TracesConfig, inputs: Inputs, progress: Progress) -> tuple[Traces, TraceSummary]:
    """Return the traces of the input ``samples``, and their summary."""
    samples = inputs.load("samples", Samples)
    traces = trace_samples(samples, config.task.prompts(), _decoder_of(config.model.stage(inputs)), progress)
    return traces, summarise(traces, config.seed)


TRACES = Work("traces", TracesConfig, compute_traces, version=3)


def traces_unit(study: Study, stage: Stage, ref: TaskRef, samples: Unit) -> Unit:
    """Return the unit of the traces of a stage's samples on a task."""
    task = TaskSource.from_ref(ref, study.data_dir, study.eval.problems)
    config = TracesConfig(model=stage.source, task=task, seed=study.seed)
    return TRACES.unit(config, samples.labels, {"samples": samples} | stage.inputs)


@lru_cache(maxsize=4)
def _decoder_of(stage: Stage) -> Decode:
    """Return the decoder of a stage, kept: a large vocabulary takes seconds to load, and every task asks for it."""
    return decoder(tokenizer_of(stage))


def decoder(tokenizer: "PreTrainedTokenizerBase") -> Decode:
    """Return the function that makes text of token ids as responses were made, padding left out."""
    pad = tokenizer.pad_token_id

    def decode(tokens: list[int]) -> str:
        printed = [token for token in tokens if token != pad]
        return str(tokenizer.decode(printed, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode


def reader_of(prompts: Iterable[str]) -> Reader:
    """Return what reads the answers to these prompts: the lab's reader if all of them are the lab's problems."""
    in_lab = [is_lab_prompt(prompt) for prompt in prompts]
    return "lab" if in_lab and all(in_lab) else "text"


def trace_samples(
    samples: Samples,
    prompts: "dict[str, str] | None" = None,
    decode: Decode | None = None,
    progress: Progress = SILENT,
) -> Traces:
    """Read every response of a samples table.

    Args:
        samples: the responses.
        prompts: of the problems by id; only with them are answers to the lab's problems judged statement by statement.
        decode: makes text of token ids; without it steps have no token positions in running text.
        progress: counts responses.

    What cannot be read is said in ``Traces.notes``, and what can be read is read.
    """
    prompts = prompts or {}
    reader = reader_of(prompts.get(name, "") for name in samples.problems)
    texts = None if decode is None else TokenTexts(decode)
    right: dict[tuple[str, str], bool] = {}
    answers, steps, unplaced = [], [], 0
    with progress.bar("reading answers", len(samples.table)) as bar:
        # A few at a time: the steps of all answers as objects would take many times the memory of their tables.
        for start in range(0, len(samples.table), _CHUNK):
            rows: list[dict[str, Any]] = samples.table[start : start + _CHUNK].to_dict("records")  # type: ignore[assignment]
            steps_of = [_steps(row, reader, prompts) for row in rows]
            right |= _right_values(rows, steps_of, right, progress)
            traces = []
            for row, read_steps in zip(rows, steps_of, strict=True):
                ends = None
                if reader == "text" and texts is not None and len(row["token_ids"]):
                    ends = texts.ends(row["token_ids"], row["response"])
                    unplaced += ends is None
                traces.append(_trace(row, read_steps, right, ends, reader))
            answers.append(pd.DataFrame(list(map(_answer_row, rows, traces)), columns=list(ANSWER_COLUMNS)))
            steps.append(_step_table(rows, traces, right))
            bar.advance(len(rows))
    return Traces(
        pd.concat(answers, ignore_index=True),
        pd.concat(steps, ignore_index=True),
        samples.model,
        samples.task,
        reader,
        tuple(_notes(samples, decode, unplaced, reader)),
    )


def _steps(row: dict[str, Any], reader: Reader, prompts: dict[str, str]) -> tuple[Step, ...]:
    if reader == "lab":
        return judge(prompts[row["problem"]], row["response"])
    return read_text(row["response"], statements_of(row["kind"] or "math"))


def statements_of(kind: str) -> Callable[[str], str]:
    """Return the function that takes the stated answer from a step."""
    return explicit_letter if kind == "choice" else explicit_answer


def _right_values(
    rows: Sequence[dict[str, Any]],
    steps_of: Sequence[Sequence[Step]],
    known: dict[tuple[str, str], bool],
    progress: Progress,
) -> dict[tuple[str, str], bool]:
    """Return whether each stated value that is not known yet is the answer, by problem and value."""
    stated: dict[tuple[str, str], tuple[str, str]] = {}
    for row, steps in zip(rows, steps_of, strict=True):
        for step in steps:
            if step.answers and row["gold"] and (row["problem"], step.value) not in known:
                stated[row["problem"], step.value] = (row["gold"], row["kind"] or "math")
    right: dict[tuple[str, str], bool] = {}
    for kind in sorted({kind for _, kind in stated.values()}):
        keys = [key for key, (_, its_kind) in stated.items() if its_kind == kind]
        texts = [value if kind == "exact" else f"\\boxed{{{value}}}" for _, value in keys]
        verdicts = check_answers(texts, [stated[key][0] for key in keys], kind, progress=progress)
        right.update(zip(keys, (verdict.correct for verdict in verdicts), strict=True))
    return right


def _trace(
    row: dict[str, Any],
    steps: Sequence[Step],
    right: dict[tuple[str, str], bool],
    ends: "np.ndarray | None",
    reader: Reader,
) -> Trace:
    return read_trace(
        row["response"],
        row["token_ids"],
        steps,
        lambda value: right.get((row["problem"], value), False),
        count=row["tokens"],
        ends=ends,
        statements=reader == "lab",
    )


def _answer_row(row: dict[str, Any], trace: Trace) -> dict[str, Any]:
    wrong = row["verdict"] != "correct"
    trajectory, slip, loop = trace.trajectory, trace.first_slip, trace.loop
    return {
        "problem": row["problem"],
        "group": row["group"],
        "sample": row["sample"],
        "verdict": row["verdict"],
        "failure": trace.failure(row["verdict"]),
        "tokens": row["tokens"],
        "steps": len(trace.steps),
        "rechecks": sum(step.recheck or "verification" in step.marks for step in trace.steps),
        "slips": sum(bool(step.slip) for step in trace.steps),
        "slip": "" if slip is None else slip.slip,
        "lost": wrong and trajectory.solved_at is not None,
        "solved_at": -1 if trajectory.solved_at is None else trajectory.solved_at,
        "tokens_to_right": -1 if trajectory.tokens_to_right is None else trajectory.tokens_to_right,
        "right_to_wrong": trajectory.right_to_wrong,
        "wrong_to_right": trajectory.wrong_to_right,
        "abandoned_tokens": _abandoned_tokens(trace) if wrong else 0,
        "loop": trace.loops,
        "loop_start": -1 if loop is None else loop.start,
        "loop_period": -1 if loop is None else loop.period,
        "checked": sum(step.checked for step in trace.steps),
        "unchecked": sum(step.unchecked for step in trace.steps),
    }


def _abandoned_tokens(trace: Trace) -> int:
    """Return the tokens before the last step with a sign of backtracking; −1 if token positions are unknown."""
    if trace.steps and trace.steps[0].first_token < 0:
        return -1
    return next((step.first_token for step in reversed(trace.steps) if "backtracking" in step.marks), 0)


def _step_table(
    rows: Sequence[dict[str, Any]], traces: Sequence[Trace], right: dict[tuple[str, str], bool]
) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {name: [] for name in STEP_COLUMNS}
    for row, trace in zip(rows, traces, strict=True):
        for index, step in enumerate(trace.steps):
            columns["problem"].append(row["problem"])
            columns["sample"].append(row["sample"])
            columns["step"].append(index)
            columns["role"].append(step.kind)
            columns["marks"].append("\n".join(step.marks))
            columns["right"].append(step.answers and right.get((row["problem"], step.value), False))
            for name in _STEP_FIELDS:
                columns[name].append(getattr(step, name))
    return pd.DataFrame(columns).astype(STEP_COLUMNS)


def _notes(samples: Samples, decode: Decode | None, unplaced: int, reader: Reader) -> list[str]:
    table, notes = samples.table, []
    count = len(table)
    without_ids = int(((table["token_ids"].map(len) == 0) & (table["tokens"] > 0)).sum())
    if without_ids:
        notes.append(
            f"{without_ids} of {count} answers were saved without token ids: no loop is looked for in their tokens"
        )
    elif decode is None and reader == "text":
        notes.append(f"no tokenizer was at hand: {NO_TOKEN_POSITIONS}, and efficiency is unknown")
    if unplaced:
        notes.append(
            f"{unplaced} of {count} answers: their tokens do not decode piece by piece to the text that was saved, "
            f"so their {NO_TOKEN_POSITIONS}"
        )
    without_gold = int((table["gold"] == "").sum())
    if without_gold:
        notes.append(f"{without_gold} of {count} answers have no gold answer: none of them can be called lost")
    return notes


def read_saved(
    run: RunDirectory, unit: Finished[Samples], progress: Progress = SILENT, problems: Collection[str] | None = None
) -> Traces:
    """Return the traces of a finished samples unit, or of its answers to some problems, for a run without traces units.

    Problems that cannot be read any more, or a tokenizer that is not here, are said in the notes.
    """
    record = unit.unit
    folders = {name: run.path / "units" / address for name, address in record["inputs"].items()}
    prompts, decode, notes = None, None, []
    try:
        prompts = TaskSource.model_validate(record["config"]["task"]).prompts()
    except (KeyError, ValueError) as error:  # InputError, or pydantic's, or there is no task: a unit of another version
        notes.append(f"the problems cannot be read: {error}")
    try:
        source = ModelSource.model_validate(record["config"]["model"])
        decode = _decoder_of(source.stage(Inputs(folders, run.path)))
    except (KeyError, ValueError) as error:
        notes.append(f"the model's tokenizer cannot be read: {error}")
    samples = unit.read()
    if problems is not None:
        samples = replace(samples, table=samples.table[samples.table["problem"].isin(list(problems))])
    traces = trace_samples(samples, prompts, decode, progress)
    return replace(traces, notes=(*traces.notes, *notes))
