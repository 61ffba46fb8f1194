"""Evaluate one model on one task: join prompts, responses and verdicts into ``Samples``."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from headscope.errors import InputError
from headscope.evaluation.chat import Chat, answer_opening, prompt_ids
from headscope.evaluation.checking import Verdict, check_answers, finish_flags
from headscope.evaluation.completions import Completion, Sampling
from headscope.evaluation.equality import normal_answer
from headscope.evaluation.extraction import OPENED, is_still_thinking
from headscope.evaluation.gold_answers import check_golds
from headscope.evaluation.majority import Votes
from headscope.evaluation.sampling import sample
from headscope.evaluation.tasks import Problem, Task
from headscope.progress import SILENT, Progress
from headscope.results.samples import Samples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from vllm import LLM

    from headscope.evaluation.vllm_settings import Checkpoint
    from headscope.models import Subject

THOUGHT_OPENED = "thought_opened"
"""The setting of samples whose prompts end with ``<think>``."""
ANSWER_OPENING = "answer_opening"
"""The setting that holds the end of the prompt with which an answer begins as a message (``chat.answer_opening``)."""
UNREADABLE_GOLDS = "unreadable_golds"
"""The setting that lists the problems whose gold answer cannot be read."""


def evaluate(
    model: "Subject | PreTrainedModel | LLM | Checkpoint | PathLike[str] | str",
    tokenizer: "PreTrainedTokenizerBase | None",
    task: Task,
    sampling: Sampling,
    *,
    chat: Chat | None = None,
    name: str = "",
    engine: str = "transformers",
    part: range | None = None,
    progress: Progress = SILENT,
) -> Samples:
    """Draw responses to a task's problems and check them. Open intervention contexts on ``model`` act as in ``sample``.

    Args:
        model: as in ``sample``.
        tokenizer: renders the prompts and decodes the responses; None takes that of the folder, ``Subject`` or engine.
        task: the problems with their gold answers.
        sampling: how responses are drawn.
        chat: settings of the chat template; None for its defaults.
        name: the variant's name in the result; a ``Subject`` has one of its own.
        engine: as in ``sample``.
        part: places of the problems that are asked, None for all; ``join_samples`` puts parts together.
        progress: counts responses, then the pairs that SymPy compares.

    Raises:
        InputError: as ``check_golds``, ``prompt_ids``, ``sample`` and ``check_answers`` raise it.
    """
    if not isinstance(task, Task):
        raise InputError(f"task is {task!r}; give a Task, as load_task returns")
    from headscope.models import Subject, load_model

    if isinstance(model, str | PathLike) and engine == "transformers":
        model = load_model(str(model))
    tokenizer = tokenizer or _own_tokenizer(model)
    if isinstance(model, Subject):
        name = name or model.name
    chat = chat or Chat()
    problems_of_part = task.problems if part is None else task.problems[part.start : part.stop]
    ids = {problem.id for problem in problems_of_part}
    unreadable = [problem.id for problem in check_golds(task) if problem.id in ids]
    prompts = [prompt_ids(tokenizer, problem.prompt, chat) for problem in task.problems]
    completions = sample(model, tokenizer, prompts, sampling, part=part, engine=engine, progress=progress)
    problems = [task.problems[completion.prompt] for completion in completions]
    # The template decides, so the first prompt speaks for all.
    opened = _opens_thought(tokenizer, prompts[0])
    verdicts = _verdicts(completions, problems, progress, opened=opened)
    records = map(_record, problems, completions, verdicts)
    settings: dict[str, object] = {"sampling": sampling.as_dict(), "chat": chat.model_dump(), "engine": engine}
    assert tokenizer is not None  # prompt_ids has refused it
    opening = answer_opening(tokenizer, task.problems[0].prompt, chat)
    if opened:
        settings[THOUGHT_OPENED] = True
    if opened or opening:
        settings[ANSWER_OPENING] = opening
    if unreadable:
        settings[UNREADABLE_GOLDS] = unreadable
    return Samples.from_records(records, model=name, task=task.name, settings=settings)


def _own_tokenizer(model: object) -> "PreTrainedTokenizerBase | None":
    """Return the tokenizer that comes with a model; None for a loaded one, which does not know it."""
    from headscope.evaluation.vllm_settings import Checkpoint
    from headscope.models import Subject

    if isinstance(model, Subject):
        return model.tokenizer
    if isinstance(model, str | PathLike):
        model = Checkpoint(str(model))
    if isinstance(model, Checkpoint):
        return model.load_tokenizer()
    get_tokenizer = getattr(model, "get_tokenizer", None)  # of ``vllm.LLM``
    return None if get_tokenizer is None else cast("PreTrainedTokenizerBase", get_tokenizer())


def score_responses(
    task: Task,
    responses: Sequence[Sequence[str]],
    *,
    finished: Sequence[Iterable[object]] | None = None,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    name: str = "own",
    progress: Progress = SILENT,
) -> Samples:
    """Check responses that were drawn elsewhere, by another program or engine.

    Args:
        task: the problems with their gold answers.
        responses: [problem][sample] texts, as many of each problem, in the task's order; "" with the finish flag False
            for one that never came.
        finished: [problem][sample], False for a response that was cut off; None takes all as finished.
        tokenizer: gives responses their tokens, by which answers are measured and loops found; None leaves them out.
        name: the model's name in the result.
        progress: counts the pairs that SymPy compares.

    Raises:
        InputError: if problems have no, or not the same number of, responses or flags, a response is no text, or as
            ``check_answers`` does.
    """
    _check_rows(task, responses, "responses", "texts")
    _check_texts(task, responses)
    if finished is not None:
        _check_rows(task, finished, "finish flags", "flags")
    flags = [[True] * len(texts) for texts in responses] if finished is None else [*map(finish_flags, finished)]
    width = len(responses[0]) if len(responses) else 0
    for rows, what in ((responses, "responses"), (flags, "finish flags")):
        if len(rows) != len(task) or width == 0 or any(len(row) != width for row in rows):
            raise InputError(
                f"{what} are for {len(rows)} problems, {width} for the first; give the same number, at least 1, for "
                f"each of the {len(task)} problems of {task.name}"
            )
    completions, problems = [], []
    for index, (problem, texts, ends) in enumerate(zip(task.problems, responses, flags, strict=True)):
        for sample_index, (text, is_finished) in enumerate(zip(texts, ends, strict=True)):
            tokens = () if tokenizer is None else tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
            finish = "stop" if is_finished else "length"
            completions.append(Completion(index, sample_index, 0, tokens, text, finish))
            problems.append(problem)
    verdicts = _verdicts(completions, problems, progress, opened=False)
    records = map(_record, problems, completions, verdicts)
    return Samples.from_records(records, model=name, task=task.name)


def _check_rows(task: Task, rows: Iterable[object], what: str, elements: str) -> None:
    """Raise InputError unless what belongs to a problem is a list of samples: a text would be read by characters."""
    for problem, row in zip(task.problems, rows, strict=False):  # ``score_responses`` compares how many there are
        if isinstance(row, str | bytes) or not isinstance(row, Iterable):
            raise InputError(
                f"the {what} of problem {problem.id} are {row!r:.60}; give a list of {elements} for every problem, one "
                "per sample"
            )


def _check_texts(task: Task, responses: Iterable[Iterable[object]]) -> None:
    for problem, texts in zip(task.problems, responses, strict=False):
        for sample_index, text in enumerate(texts):
            if text is None:
                raise InputError(
                    f'sample {sample_index} of problem {problem.id} is None; give "" with the finish flag False for a '
                    "response that never came"
                )
            if not isinstance(text, str):
                raise InputError(f"sample {sample_index} of problem {problem.id} is {text!r:.60}; give a text")


def join_samples(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all parts of a task, in their order: what ``evaluate`` returns of the whole task."""
    settings = dict(parts[0].settings)
    unreadable = [problem for part in parts for problem in part.settings.get(UNREADABLE_GOLDS, ())]
    if unreadable:
        settings[UNREADABLE_GOLDS] = unreadable
    table = pd.concat([part.table for part in parts], ignore_index=True)
    return Samples(table, parts[0].model, parts[0].task, settings)


def rescore(samples: Samples, task: Task | None = None, progress: Progress = SILENT) -> Samples:
    """Check the same responses again, against ``task`` or against the gold answers they were saved with.

    Raises InputError if the samples hold a problem the task does not have, or if there is no task and the samples do
    not say how their answers are checked (schema version 1).
    """
    rows: list[dict[str, Any]] = samples.table.to_dict("records")  # type: ignore[assignment]
    answered = _saved_problems(samples, rows) if task is None else task.problems
    by_id = {problem.id: problem for problem in answered}
    unknown = [name for name in samples.problems if name not in by_id]
    if unknown and task is not None:
        raise InputError(
            f"task {task.name!r} has no problem {unknown[0]!r}, which the samples of {samples.task!r} answer"
        )
    # Zeros instead of the ids: old files keep none, and the record takes only their number.
    completions = [
        Completion(0, row["sample"], row["seed"], (0,) * row["tokens"], row["response"], row["finish"]) for row in rows
    ]
    problems = [by_id[row["problem"]] for row in rows]
    verdicts = _verdicts(completions, problems, progress, opened=bool(samples.settings.get(THOUGHT_OPENED)))
    records = [
        _record(problem, completion, verdict) | {"token_ids": row["token_ids"], "end": row["end"]}
        for row, problem, completion, verdict in zip(rows, problems, completions, verdicts, strict=True)
    ]
    return Samples.from_records(records, model=samples.model, task=samples.task, settings=samples.settings)


def votes(samples: Samples) -> Votes:
    """Return [problem][sample] what each response votes for: its answer in one spelling, None if it states none."""
    cast: list[str | None] = []
    for answer, kind, verdict in samples.table[["answer", "kind", "verdict"]].itertuples(index=False):
        states_one = answer and verdict not in ("unparsed", "unfinished")
        cast.append(normal_answer(answer, kind or "math") if states_one else None)
    width = samples.correct.shape[1]
    return [cast[start : start + width] for start in range(0, len(cast), width)]


def _saved_problems(samples: Samples, rows: Sequence[dict[str, Any]]) -> list[Problem]:
    if not all(row["kind"] for row in rows):
        raise InputError(
            f"the samples of {samples.task!r} do not say how their answers are checked; name their task as well"
        )
    return [Problem(row["problem"], "", row["gold"], row["kind"], row["group"]) for row in rows]


def _opens_thought(tokenizer: "PreTrainedTokenizerBase | None", prompt: Sequence[int]) -> bool:
    """Return whether a prompt ends with ``<think>``, so that without ``</think>`` a response is a thought."""
    assert tokenizer is not None  # prompt_ids has refused it
    text = tokenizer.decode(list(prompt[-16:]), skip_special_tokens=False)
    return str(text).rstrip().endswith(OPENED)


def _verdicts(
    completions: list[Completion], problems: list[Problem], progress: Progress, *, opened: bool
) -> list[Verdict]:
    """Return the verdicts in the order of the completions; a task may mix kinds."""
    rows_of_kind: dict[str, list[int]] = defaultdict(list)
    for row, problem in enumerate(problems):
        rows_of_kind[problem.kind].append(row)
    verdicts: dict[int, Verdict] = {}
    for kind, rows in rows_of_kind.items():
        texts = [completions[row].text for row in rows]
        golds = [problems[row].answer for row in rows]
        finished = [
            completions[row].finish == "stop" and not is_still_thinking(completions[row].text, opened) for row in rows
        ]
        verdicts.update(zip(rows, check_answers(texts, golds, kind, finished, progress=progress), strict=True))
    return [verdicts[row] for row in range(len(problems))]


def _record(problem: Problem, completion: Completion, verdict: Verdict) -> dict[str, object]:
    """Return one row of ``Samples``."""
    return {
        "problem": problem.id,
        "group": problem.group,
        "sample": completion.sample,
        "seed": completion.seed,
        "response": completion.text,
        "tokens": len(completion.tokens),
        "finish": completion.finish,
        "verdict": verdict.status,
        "answer": verdict.answer,
        "gold": problem.answer,
        "kind": problem.kind,
        "token_ids": completion.tokens,
        # The column is int64, which has no None.
        "end": -1 if completion.end is None else completion.end,
    }
