"""What the names in a study file stand for: tasks and training data, the lab's or the user's."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from headscope.errors import InputError, suggestion
from headscope.evaluation import Chat, Problem, Task, TaskFile, load_task
from headscope.evaluation.benchmarks import BENCHMARKS
from headscope.lab import builtin_data as lab
from headscope.runs.digests import digest
from headscope.studies.config import Config
from headscope.studies.records import read_records
from headscope.studies.study import TaskRef


@lru_cache(maxsize=64)
def task(ref: TaskRef, data_dir: str | None = None) -> Task:
    """The problems a task reference names: a lab tier, a benchmark, a file. Read once: a plan asks for them often."""
    if isinstance(ref, TaskFile):
        return load_task(ref)
    known = task_names()
    if ref not in known and not Path(ref).suffix:
        raise InputError(f"task {ref!r} is no known task and no file{suggestion(ref, known)}")
    if ref in BENCHMARKS or ref not in known:
        return load_task(ref, data_dir=data_dir)
    problems = (Problem(item.id, item.prompt, str(item.answer), "exact", item.tier) for item in lab.task_items(ref))
    return Task(ref, tuple(problems))


def task_names() -> list[str]:
    """Every task that has a name."""
    return [*BENCHMARKS, *lab.TASKS, lab.SLICE, lab.TRAIN]


class TaskPlace(Config):
    """What the study calls a task, where files of named benchmarks lie, and how many of its problems are taken."""

    ref: TaskRef
    data_dir: str | None
    first: int | None


class TaskSource(Config):
    """What a unit's function must know to read the problems of a task.

    digest: over the problems, which are the same wherever they lie.
    """

    name: str
    digest: str
    place: TaskPlace

    @classmethod
    def of(cls, ref: TaskRef, data_dir: str | None, first: int | None = None) -> "TaskSource":
        """Return the source of the first problems of a task, all for None."""
        return _task_source(ref, data_dir, first)

    def task(self) -> Task:
        """Return the problems. Raises InputError if they are no longer those the unit was planned with."""
        problems = task(self.place.ref, self.place.data_dir).first(self.place.first)
        if task_digest(problems.problems) != self.digest:
            raise InputError(f"the problems of task {self.name} have changed since the study was planned; run it again")
        return problems


@lru_cache(maxsize=64)
def _task_source(ref: TaskRef, data_dir: str | None, first: int | None) -> TaskSource:
    # A plan asks for the same few tasks once per unit, and a digest reads every problem.
    problems = task(ref, data_dir).first(first)
    place = TaskPlace(ref=ref, data_dir=data_dir, first=first)
    return TaskSource(name=problems.name, digest=task_digest(problems.problems), place=place)


def task_digest(problems: Sequence[Problem]) -> str:
    """Over ids, questions, answers and kinds, and how they are asked if not as their kind is."""
    return digest(
        [
            [problem.id, problem.question, problem.answer, problem.kind, *filter(None, [problem.template])]
            for problem in problems
        ]
    )


def training_records(name: TaskRef, chat: Chat = Chat(), data_dir: str | None = None) -> Any:
    """Read prompt and completion messages for SFT: the lab's (``lab.DATASETS``), a task's worked answers, or the rows
    of a file or hub data set (``read_records``)."""
    if isinstance(name, TaskFile) or name in task_names():
        return _worked_answers(task(name, data_dir), chat)
    if name in lab.DATASETS:
        return lab.DATASETS[name]()
    return read_records(name, chat)


def _worked_answers(problems: Task, chat: Chat) -> list[dict[str, Any]]:
    """A task's prompts as evaluation asks them, and its worked answers."""
    named = [name for name, benchmark in BENCHMARKS.items() if benchmark.solution is not None]
    lacking = [problem.id for problem in problems.problems if not problem.solution]
    if lacking:
        raise InputError(
            f"task {problems.name!r} has no worked answer to {len(lacking)} of {len(problems)} problems, the first is "
            f"{lacking[0]}, and sft learns them; give {' or '.join(named)}, a file with a solution: column, "
            "or prompt and completion records"
        )
    return [
        {
            "prompt": chat.messages(problem.prompt),
            "completion": [{"role": "assistant", "content": problem.worked_answer}],
        }
        for problem in problems.problems
    ]


def training_prompts(name: TaskRef, chat: Chat, data_dir: str | None) -> list[dict[str, Any]]:
    """Prompts for GRPO with the gold answer and how to check it in columns of their own."""
    return [
        {
            "prompt": chat.messages(problem.prompt),
            "answer": problem.answer,
            "kind": problem.kind,
        }
        for problem in task(name, data_dir).problems
    ]


def shuffled(rows: Any, columns: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """``rows`` with ``columns``, where present, taken from another row: no row keeps its own."""
    plain = [dict(row) for row in rows]
    order = list(range(len(plain)))
    random.Random(seed).shuffle(order)
    givers = dict(zip(order, order[1:] + order[:1], strict=True))
    return [
        row | {name: plain[givers[index]][name] for name in columns if name in row} for index, row in enumerate(plain)
    ]
