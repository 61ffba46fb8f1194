"""Tasks: problems with gold answers, from the known benchmarks by name or from any table file."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator

from headscope.errors import InputError, count_noun, suggestion
from headscope.evaluation.benchmarks import BENCHMARKS, Benchmark, after_hashes
from headscope.evaluation.table_files import SUFFIXES, Row, read_table

Kind = Literal["math", "number", "choice", "alias", "exact"]
KINDS = get_args(Kind)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
QUESTION, BOX = "{question}", "\\boxed"
_QUESTION_COLUMNS = ("question", "problem", "prompt")

_STEPS = "\nPlease reason step by step, and put your final answer within \\boxed{}."
PROMPT_SUFFIX = {
    "math": _STEPS,
    "number": _STEPS,
    "choice": "\nPlease reason step by step, and put the letter of your final answer within \\boxed{}.",
    "alias": "\nPlease put your final answer within \\boxed{}.",
    "exact": "",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One question.

    id: unique within its task.
    question: the text, without what its kind asks for.
    answer: the gold answer; several accepted ones (kind alias) are separated by newlines, the canonical one first.
    kind: how a response is checked: math | number | choice | alias | exact.
    group: tier or level, "" for none.
    template: how it is asked, with ``{question}`` in it; "" appends what its kind asks for.
    solution: a worked answer, for SFT; "" for none.
    """

    id: str
    question: str
    answer: str
    kind: str = "math"
    group: str = ""
    template: str = ""
    solution: str = ""

    @property
    def prompt(self) -> str:
        """Return the question as its task asks it, or with what its kind asks for.

        For math that is the suffix of DeepSeek-R1's and Qwen2.5-Math's evaluations.
        """
        if self.template:
            return self.template.replace(QUESTION, self.question)
        return self.question + PROMPT_SUFFIX[self.kind]

    @property
    def worked_answer(self) -> str:
        """Return the solution; if the prompt asks for a box it lacks, with the gold answer in a box at its end."""
        if not self.solution or BOX in self.solution or BOX not in self.prompt:
            return self.solution
        gold = self.answer.split("\n", 1)[0]
        return f"{self.solution}\n{BOX}{{{gold}}}"


@dataclass(frozen=True, slots=True)
class Task:
    """A named, ordered set of problems.

    allow_unreadable: whether it may be used although some gold answers cannot be read (``check_golds``).
    Raises InputError for no problem, two problems with one id, or a kind that does not exist.
    """

    name: str
    problems: tuple[Problem, ...]
    allow_unreadable: bool = False

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError(f"task {self.name!r} has no problems; allowed: at least one")
        repeated = [name for name, count in Counter(problem.id for problem in self.problems).items() if count > 1]
        if repeated:
            raise InputError(
                f"task {self.name!r} has {count_noun(len(repeated), 'repeated problem id')}, the first is "
                f"{repeated[0]!r}"
            )
        for kind in {problem.kind for problem in self.problems} - set(KINDS):
            raise InputError(f"task {self.name!r} has the kind {kind!r}{suggestion(kind, KINDS)}")

    def __len__(self) -> int:
        return len(self.problems)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(problem.kind for problem in self.problems))
        return (
            f"Task: {self.name}; {count_noun(len(self), 'problem')}; answers are {kinds}; first {self.problems[0].id}"
        )

    def first(self, count: int | None) -> "Task":
        """Return the task with its first ``count`` problems (all of them for None)."""
        return replace(self, problems=self.problems[:count])


class TaskFile(BaseModel):
    """A user's task file: JSON (a list of objects), JSONL or Parquet, and the names of its columns.

    file: its path.
    question: None takes the first of question, problem and prompt.
    answer: a column of gold answers; of ``math`` and ``number`` what stands after ``####``, as in GSM8K's.
    prompt: how a question is asked, in evaluation and training, with ``{question}`` in it; None appends what the kind
        asks for.
    solution: a column of worked answers, which SFT learns.
    id: a column; None numbers the rows.
    group: a column with each problem's tier or level; no row may leave it empty.
    aliases: a column of further accepted answers.
    options: columns of wrong answers; they make the kind ``choice``, each problem's options are shuffled by ``seed``
        and its question, and the gold answer becomes a letter.
    seed: of the options' order.
    kind: of all rows: ``math`` and ``alias`` read what a response states, ``choice`` its letter; ``number`` takes the
        last number, for models too small to say which of their numbers is the answer; ``exact`` takes the text after
        the lab's ``<ans>`` as it stands.
    name: of the task; None takes the file's stem.
    allow_unreadable: use the task although some gold answers cannot be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    question: str | None = None
    answer: str = "answer"
    prompt: str | None = None
    solution: str | None = None
    id: str | None = None
    group: str | None = None
    aliases: str | None = None
    options: tuple[str, ...] = ()
    seed: int = 0
    kind: Kind = "math"
    name: str | None = None
    allow_unreadable: bool = False

    @field_validator("prompt")
    @classmethod
    def _holds_the_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and QUESTION not in prompt:
            raise ValueError(f"it needs {QUESTION}, where the question is to stand")
        return prompt


def load_task(spec: str | TaskFile, *, data_dir: Path | str | None = None, seed: int = 0) -> Task:
    """Load a task by name (``BENCHMARKS``), by the path of a file with default columns, or by a ``TaskFile``.

    Args:
        spec: the name, path or ``TaskFile``.
        data_dir: folder in which a named benchmark's file is looked for first (``aime24.json``, ``gsm8k_test.jsonl``,
            …); without it, or if the file is not there, the hub is asked through ``datasets``.
        seed: of the options' order of a named multiple-choice benchmark.

    Raises:
        InputError: for an unknown name, a missing, unreadable or empty file, missing columns, duplicate ids, a row
            without question or answer, and a hub that cannot be reached.
    """
    if isinstance(spec, TaskFile):
        return _from_file(spec)
    if spec in BENCHMARKS:
        return _from_benchmark(spec, BENCHMARKS[spec], None if data_dir is None else Path(data_dir), seed)
    if Path(spec).suffix in SUFFIXES:
        return _from_file(TaskFile(file=spec))
    raise InputError(f"task {spec!r} is no known task and no {', '.join(SUFFIXES)} file{suggestion(spec, BENCHMARKS)}")


def _from_file(spec: TaskFile) -> Task:
    path = Path(spec.file)
    name = spec.name or path.stem
    rows = read_table(path, "task file")
    question = spec.question or _first_present(rows, _QUESTION_COLUMNS) or _QUESTION_COLUMNS[0]
    needed = (question, spec.answer, spec.id, spec.group, spec.aliases, spec.solution, *spec.options)
    _require(rows, [column for column in needed if column is not None], f"task file {path}")
    columns = _Columns(question, spec.answer, spec.aliases, spec.options)
    kind = "choice" if spec.options else spec.kind
    problems = []
    for index, row in enumerate(rows):
        location = f"row {index + 1} of {path}"
        problem_id = f"{name}/{index}" if spec.id is None else _text(row, spec.id, location)
        group = "" if spec.group is None else _text(row, spec.group, location)
        solution = "" if spec.solution is None else _text(row, spec.solution, location)
        text, gold = columns.read(row, location, spec.seed)
        if kind in ("math", "number") and "####" in gold and spec.aliases is None:
            gold = after_hashes(gold)
            if not gold:
                raise InputError(f"{location} has nothing after #### in column {spec.answer!r}")
        problems.append(Problem(problem_id, text, gold, kind, group, spec.prompt or "", solution))
    return Task(name, tuple(problems), spec.allow_unreadable)


def _from_benchmark(name: str, benchmark: Benchmark, data_dir: Path | None, seed: int) -> Task:
    """Read the same ids and texts from a local file as from the hub, whichever column names a mirror uses."""
    path = None if data_dir is None else benchmark.local_file(data_dir)
    rows = benchmark.load_from_hub(name) if path is None else read_table(path, "task file")
    origin = str(path or benchmark.hub)
    question = _first_present(rows, benchmark.question)
    answer = _first_present(rows, benchmark.answer)
    aliases = _first_present(rows, benchmark.aliases)
    if question is None or answer is None:
        _require(rows, [benchmark.question[0], benchmark.answer[0]], origin)
    _require(rows, benchmark.options, origin)
    columns = _Columns(str(question), str(answer), aliases, benchmark.options)
    problems = []
    for index, row in enumerate(rows):
        location = f"row {index + 1} of {origin}"
        text, gold = columns.read(row, location, seed)
        # A mirror may lack the column; a task file names it, and each of its rows has to have it.
        has_group = benchmark.group is not None and not _is_empty(_cell(row, benchmark.group))
        group = _text(row, str(benchmark.group), location) if has_group else ""
        text = benchmark.clean_question(text)
        gold = benchmark.clean_answer(gold)
        solution = "" if benchmark.solution is None else benchmark.solution(row)
        problems.append(Problem(f"{name}/{index}", text, gold, benchmark.kind, group, solution=solution))
    return Task(name, tuple(problems))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a row's question, answer, further accepted answers and wrong options."""

    question: str
    answer: str
    aliases: str | None
    options: tuple[str, ...]

    def read(self, row: Row, location: str, seed: int) -> tuple[str, str]:
        """Return question and gold answer; with options, the question lists them all and the answer is a letter."""
        question = _text(row, self.question, location)
        gold = _gold(row, self.answer, self.aliases, location)
        if not self.options:
            return question, gold
        wrong = [_text(row, column, location).strip() for column in self.options]
        if len(wrong) >= len(LETTERS):
            raise InputError(f"{location} has {1 + len(wrong)} options; allowed: at most {len(LETTERS)}, a letter each")
        return _as_choice(question, gold.strip(), wrong, seed)


def _as_choice(question: str, gold: str, wrong: Sequence[str], seed: int) -> tuple[str, str]:
    """Return the question with its options, and the letter of the gold one.

    Their order depends on nothing but the seed and the question.
    """
    options = [gold, *wrong]
    # A text as seed: its digest is the same in every process and Python version, as hash() is not.
    random.Random(f"{seed} {question}").shuffle(options)
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{question}\n\n{listed}", LETTERS[options.index(gold)]


def _first_present(rows: Sequence[Row], columns: Iterable[str]) -> str | None:
    """Return the first of ``columns`` that the first row has, None if it has none of them."""
    return next((column for column in columns if rows and _cell(rows[0], column) is not None), None)


def _require(rows: Sequence[Row], columns: Sequence[str], origin: str) -> None:
    if not rows:
        raise InputError(f"{origin} has no rows; a task needs at least one")
    missing = [column for column in columns if all(_cell(row, column) is None for row in rows)]
    if missing:
        raise InputError(
            f"{origin} has no column {', '.join(missing)}, only {', '.join(sorted(rows[0]))}; say which column is "
            "what, as in {file: …, question: …, answer: …}"
        )


def _cell(row: Row, column: str) -> object:
    """Return a column's value, None if absent; ``answer.value`` reaches into a nested record."""
    value: object = row
    # A column may have a dot in its own name.
    for part in [column] if column in row else column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _is_empty(value: object) -> bool:
    # NaN is how Parquet and pandas write an empty number; it alone differs from itself.
    return value is None or value != value or str(value).strip() == ""


def _text(row: Row, column: str, location: str) -> str:
    """Return a cell as text; whole-numbered floats as integers (AMC files hold 142.0)."""
    value = _cell(row, column)
    if _is_empty(value):
        raise InputError(f"{location} has nothing in column {column!r}; every problem needs one")
    if isinstance(value, list | Mapping):
        raise InputError(f"{location} has a {type(value).__name__} in column {column!r}; text or a number is needed")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _gold(row: Row, answer: str, aliases: str | None, location: str) -> str:
    """Return the gold answer and its aliases, a line each."""
    cell = (None if aliases is None else _cell(row, aliases)) or []
    if not isinstance(cell, str | list):
        raise InputError(f"{location} has {cell!r:.40} in column {aliases!r}; text or a list of texts is needed")
    alternatives = [cell] if isinstance(cell, str) else [str(alias) for alias in cell]
    # A dict keeps order and drops the repetition of the canonical answer among the aliases.
    return "\n".join(dict.fromkeys([_text(row, answer, location), *alternatives]))
