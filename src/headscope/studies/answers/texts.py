"""Texts of a study's answers, with the prompts they answer, as a model reads them again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headscope.evaluation import Task, prompt_ids
from headscope.model_files.chat_templates import stop_tokens
from headscope.results.samples import Samples
from headscope.studies.models.stages import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from headscope.interventions import Text


@dataclass(frozen=True)
class ModelOnTask:
    """A model at one step, and the problems it is asked."""

    stage: Stage
    task: Task


def answered_texts(respondent: ModelOnTask, samples: Samples, count: int, *, correct: bool = False) -> "list[Text]":
    """Return prompts with the model's own answers, the first (correct) one per problem, of ``count`` problems."""
    return [text for _, text in answers_with_texts(respondent, samples, count, correct=correct)]


def answers_with_texts(
    respondent: ModelOnTask, samples: Samples, count: int, *, correct: bool = False
) -> "list[tuple[dict[Any, Any], Text]]":
    """Return the texts of ``answered_texts``, each with its row of the samples."""
    first_answers = samples.table[samples.table["verdict"] == "correct"] if correct else samples.table
    rows = first_answers.drop_duplicates("problem").head(count).to_dict("records")
    return list(texts_of_rows(respondent, rows))


def texts_of_rows(respondent: ModelOnTask, rows: Iterable[dict[Any, Any]]) -> "Iterator[tuple[dict[Any, Any], Text]]":
    """Yield the rows of samples whose answer has a token, each with its text."""
    from headscope.interventions import Text
    from headscope.studies.models.subjects import load

    tokenizer = load(respondent.stage).tokenizer
    prompts = {problem.id: problem.prompt for problem in respondent.task.problems}
    for row in rows:
        response = (*map(int, row["token_ids"]), *end_tokens(row, tokenizer))
        if response:
            prompt = prompt_ids(tokenizer, prompts[row["problem"]], respondent.stage.chat)
            yield row, Text(tuple(prompt), response)


def end_tokens(row: Mapping[Any, Any], tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Return the token that ended a sampled response; samples of before schema version 3 did not keep it."""
    if row["finish"] != "stop":
        return ()
    return (int(row["end"]),) if row["end"] >= 0 else stop_tokens(tokenizer)[:1]
