"""Read what the names in a study file stand for: tasks and training data, the lab's or the user's."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from headscope.contents import file_identity
from headscope.errors import InputError, suggestion
from headscope.evaluation import Chat, Problem, Task, TaskFile, load_task
from headscope.evaluation.benchmarks import BENCHMARKS
from headscope.lab import builtin_data as lab
from headscope.lab import word_problems
from headscope.runs.digests import digest
from headscope.studies.data.records import read_records
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.references import TaskRef


def task(ref: TaskRef, data_dir: str | None = None) -> Task:
    """Return the problems a task reference names. A file is read again only if it was rewritten."""
    return _read_task(ref, data_dir, _file_identity(ref, data_dir))


def _file_identity(ref: TaskRef, data_dir: str | None) -> tuple[int, ...]:
    """Return a key that differs once a task's file is rewritten; () for a task without a file here."""
    if isinstance(ref, str) and ref in BENCHMARKS:
        path = None if data_dir is None else BENCHMARKS[ref].local_file(Path(data_dir))
    else:
        path = Path(ref.file if isinstance(ref, TaskFile) else ref)
    return file_identity(path) if path is not None and path.is_file() else ()


@lru_cache(maxsize=64)
def _read_task(ref: TaskRef, data_dir: str | None, identity: tuple[int, ...]) -> Task:
    # Cached because a plan asks for the same few tasks once per unit.
    if isinstance(ref, TaskFile):
        return load_task(ref)
    check_known(ref)
    if ref in BENCHMARKS or ref not in task_names():
        return load_task(ref, data_dir=data_dir)
    if ref in word_problems.TASKS:
        return _word_problems(ref)
    problems = (Problem(item.id, item.prompt, str(item.answer), "exact", item.tier) for item in lab.task_items(ref))
    return Task(ref, tuple(problems))


def check_known(ref: TaskRef) -> None:
    """Raise InputError for a name that is no task's and no file's."""
    names = task_names()
    if isinstance(ref, str) and ref not in names and not Path(ref).suffix:
        raise InputError(f"task {ref!r} is no known task and no file{suggestion(ref, names)}")


def _word_problems(name: str) -> Task:
    problems = []
    for item in word_problems.task_problems(name):
        # A test set has no worked answers, so that no model is trained on it.
        solution = item.solution if item.split == "train" else ""
        asked = word_problems.PROMPT
        problems.append(Problem(item.id, item.question, str(item.answer), "number", item.tier, asked, solution))
    return Task(name, tuple(problems))


def task_names() -> list[str]:
    """Return the name of every task that has one."""
    return [*BENCHMARKS, *word_problems.TASKS, *lab.TASKS, lab.SLICE, lab.TRAIN, lab.T1_TRAIN]


def dataset_names() -> list[str]:
    """Return the name of everything SFT can learn from that has one: the lab's, and tasks with worked answers."""
    return [*lab.DATASETS, *_solved_tasks()]


def _solved_tasks() -> list[str]:
    """Return the names of the tasks that have worked answers."""
    solved = [name for name, benchmark in BENCHMARKS.items() if benchmark.solution is not None]
    return [*solved, "word-problems-train"]


class TaskPlace(Config):
    """Name of a task in the study, where files of named benchmarks lie, and how many of its problems are taken."""

    ref: TaskRef
    data_dir: str | None
    first: int | None


class TaskSource(Config):
    """Source that a unit's function reads the problems of a task from.

    digest: over the problems, which are the same wherever they lie.
    """

    name: str
    digest: str
    place: TaskPlace

    @classmethod
    def from_ref(cls, ref: TaskRef, data_dir: str | None, first: int | None = None) -> "TaskSource":
        """Return the source of the first problems of a task, all for None."""
        place = TaskPlace(ref=ref, data_dir=data_dir, first=first)
        return _read_source(place, _file_identity(ref, data_dir))

    def task(self) -> Task:
        """Return the problems. Raises InputError if they are no longer those the unit was planned with."""
        problems = task(self.place.ref, self.place.data_dir).first(self.place.first)
        if task_digest(problems.problems) != self.digest:
            raise InputError(f"the problems of task {self.name} have changed since the study was planned; run it again")
        return problems

    def prompts(self) -> dict[str, str]:
        """Return the text that asks each problem, by its id. Raises InputError as ``task`` does."""
        return {problem.id: problem.prompt for problem in self.task().problems}


@lru_cache(maxsize=64)
def _read_source(place: TaskPlace, identity: tuple[int, ...]) -> TaskSource:
    # Cached because a plan asks for the same few tasks once per unit, and a digest reads every problem.
    problems = task(place.ref, place.data_dir).first(place.first)
    return TaskSource(name=problems.name, digest=task_digest(problems.problems), place=place)


def task_digest(problems: Sequence[Problem]) -> str:
    """Return a digest of ids, questions, answers and kinds, and how they are asked if not as their kind is."""
    rows = []
    for problem in problems:
        template = [problem.template] if problem.template else []
        rows.append([problem.id, problem.question, problem.answer, problem.kind, *template])
    return digest(rows)


def training_records(name: TaskRef, chat: Chat = Chat(), data_dir: str | None = None) -> Any:
    """Read prompt and completion messages for SFT: the lab's (``lab.DATASETS``), a task's worked answers, or the rows
    of a file or hub data set (``read_records``)."""
    if isinstance(name, TaskFile) or name in task_names():
        return _worked_answers(task(name, data_dir), chat)
    if name in lab.DATASETS:
        return lab.DATASETS[name]()
    return read_records(name, chat)


def _worked_answers(problems: Task, chat: Chat) -> list[dict[str, Any]]:
    """Return a task's prompts as evaluation asks them, with its worked answers."""
    lacking = [problem.id for problem in problems.problems if not problem.solution]
    if lacking:
        raise InputError(
            f"task {problems.name!r} has no worked answer to {len(lacking)} of {len(problems)} problems, the first is "
            f"{lacking[0]}, and sft learns them; give {' or '.join(_solved_tasks())}, a file with a solution: column, "
            "or prompt and completion records"
        )
    records = []
    for problem in problems.problems:
        completion = [{"role": "assistant", "content": problem.worked_answer}]
        records.append({"prompt": chat.messages(problem.prompt), "completion": completion})
    return records


def training_prompts(name: TaskRef, chat: Chat, data_dir: str | None) -> list[dict[str, Any]]:
    """Return prompts with the gold answer and how to check it in columns of their own."""
    return [
        {"prompt": chat.messages(problem.prompt), "answer": problem.answer, "kind": problem.kind}
        for problem in task(name, data_dir).problems
    ]


def shuffle_columns(rows: Any, columns: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Return ``rows`` with those of ``columns`` they have taken from another row: no row keeps its own."""
    plain = [dict(row) for row in rows]
    order = list(range(len(plain)))
    random.Random(seed).shuffle(order)
    # One cycle through all rows, and not any permutation: those leave some rows as they are.
    givers = dict(zip(order, order[1:] + order[:1], strict=True))
    return [
        row | {name: plain[givers[index]][name] for name in columns if name in row} for index, row in enumerate(plain)
    ]
