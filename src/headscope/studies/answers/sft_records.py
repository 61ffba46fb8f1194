"""Answers of a run as records that another model learns from: the data of distillation and of rejection sampling.

Distillation as R1-Distill was trained (arXiv 2501.12948, section 2.4): a teacher answers problems, the correct answers
are kept, and the student learns them by SFT. The file is what ``train: {method: sft, dataset: FILE}`` and TRL read.
Its rows are conversations, because TRL gives a plain text no chat template, and it would be learned without its roles.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError, suggestion
from headscope.evaluation import Chat
from headscope.evaluation.evaluate import ANSWER_OPENING, THOUGHT_OPENED
from headscope.evaluation.extraction import OPENED
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import Inputs, RunDirectory
from headscope.runs.records import Finished
from headscope.storage import write_text
from headscope.studies.data.encodable import find_unencodable
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource
from headscope.studies.models.tokenizer import tokenizer_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SUFFIX = ".jsonl"


def export_answers(
    run: RunDirectory, variant: str, task: str, out: Path, *, step: int | None = None, correct: bool = True
) -> dict[str, Any]:
    """Write one model's answers to one task as JSON lines, and return how many of how many were written.

    Answers that the model's own tokenizer cannot read back as text are left out and counted.

    A line has prompt and completion as messages, the system prompt and the switches of the chat template
    (``chat_template_kwargs``) that the model was asked with, and the problem's id and the verdict. Answers drawn
    without a marker (``eval.forbid``) are none of the model's own.

    Args:
        run: the run.
        variant: its name in the study, or ``base``.
        task: its name in the study.
        out: the file, ``.jsonl``.
        step: of the checkpoint; None takes the last.
        correct: leave out all answers but the correct ones.

    Raises:
        InputError: if there is no such variant, task, step or folder, the task's problems have changed or are gone, or
            no answer is left to write.
    """
    if out.suffix != SUFFIX or not out.parent.is_dir():
        fault = f"lies in {out.parent}, which does not exist" if out.suffix == SUFFIX else f"does not end in {SUFFIX}"
        raise InputError(f"--out {out} {fault}; name a {SUFFIX} file in a folder that exists")
    unit = _find(run, variant, task, step)
    samples = unit.read()
    prompts = TaskSource.model_validate(unit.unit["config"]["task"]).prompts()
    table = samples.table[samples.table["verdict"] == "correct"] if correct else samples.table
    if table.empty:  # an answer of any kind there always is
        raise InputError(f"{variant} has no correct answer to {task} among {len(samples.table)}: nothing to learn from")
    tokenizer = _tokenizer_of(unit)
    # Tokens that are written without a space between them may make a word that a small vocabulary lacks.
    unreadable = [] if tokenizer is None else find_unencodable(tokenizer, table["response"].tolist())
    table = table.drop(index=table.index[unreadable])
    if table.empty:
        raise InputError(f"the tokenizer of {variant} cannot read any of its own answers to {task}")
    lines = []
    for problem, response, verdict in zip(table["problem"], table["response"], table["verdict"], strict=True):
        conversation = _conversation(samples, prompts[problem], response)
        lines.append(json.dumps(conversation | {"problem": problem, "verdict": verdict}))
    write_text(out, "\n".join(lines) + "\n")
    return {
        "model": f"{variant} at step {unit.labels['step']}",
        "task": task,
        "records": len(table),
        "answers": len(samples.table),
        "unreadable": len(unreadable),
        "different": len(table[["problem", "response"]].drop_duplicates()),
        "answered": table["problem"].nunique(),
        "problems": len(samples.problems),
        "open": str(out),
    }


def _conversation(samples: Samples, prompt: str, response: str) -> dict[str, Any]:
    """Return prompt and completion as messages that the chat template renders as the model was asked."""
    chat = Chat.model_validate(samples.settings.get("chat", {}))
    # Answers of before the opening was kept say only that a thought was opened.
    opening = samples.settings.get(ANSWER_OPENING, f"{OPENED}\n" if samples.settings.get(THOUGHT_OPENED) else "")
    completion = [{"role": "assistant", "content": opening + response}]
    conversation: dict[str, Any] = {"prompt": chat.messages(prompt), "completion": completion}
    switches = chat.switches()
    return conversation | ({"chat_template_kwargs": switches} if switches else {})


def _tokenizer_of(unit: Finished[Samples]) -> "PreTrainedTokenizerBase | None":
    """Load the tokenizer of the model that answered; None if it is no longer there, or no longer the same."""
    source = ModelSource.model_validate(unit.unit["config"]["model"])
    folders = {name: unit.folder.parent.parent / address for name, address in unit.unit["inputs"].items()}
    if source.trained_by is not None and source.trained_by not in folders:
        return None
    try:
        return tokenizer_of(source.stage(Inputs(folders, unit.folder)))
    except InputError:
        return None


def _find(run: RunDirectory, variant: str, task: str, step: int | None) -> Finished[Samples]:
    """Return the unit of the answers. Raises InputError if there is none."""
    units = [
        unit
        for unit in run.results(Samples)
        if unit.labels.get("forbid") is None and not (unit.folder / NotRun.file).exists()
    ]
    for label, name in (("variant", variant), ("task", task)):
        known = list(dict.fromkeys(str(unit.labels[label]) for unit in units))
        if name not in known:
            raise InputError(f"{run} has no answers of {label} {name!r}{suggestion(name, known)}")
        units = [unit for unit in units if unit.labels[label] == name]
    by_step = {int(unit.labels["step"]): unit for unit in units}
    chosen = max(by_step) if step is None else step
    if chosen not in by_step:
        steps = ", ".join(map(str, sorted(by_step)))
        raise InputError(f"{variant} has no answers to {task} at step {chosen}; allowed: {steps}")
    return by_step[chosen]
