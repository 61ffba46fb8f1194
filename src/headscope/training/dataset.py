"""The rows that a method trains on, as a ``datasets.Dataset`` that TRL can read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from headscope.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

    Rows: TypeAlias = Dataset | Sequence[Mapping[str, object]]


def as_dataset(rows: "Rows", columns: Sequence[str]) -> "Dataset":
    """Return a ``datasets.Dataset`` from itself or from a list of dictionaries.

    Raises InputError if it is empty, a row lacks one of ``columns``, or the prompts are no messages: TRL would train on
    plain text, and the model is asked through its chat template.
    """
    from datasets import Dataset

    dataset = rows if isinstance(rows, Dataset) else None
    if len(rows) == 0:
        raise InputError("the training data is empty; at least one row is needed")
    # All rows of a Dataset have the same columns, and reading each would decode it.
    for number, row in enumerate(rows if dataset is None else [dict.fromkeys(dataset.column_names)], start=1):
        if not isinstance(row, Mapping):
            raise InputError(f"row {number} of the training data is {row!r:.40}; a mapping with columns is needed")
        missing = [column for column in columns if column not in row]
        if missing:
            raise InputError(f"row {number} of the training data has no {missing[0]!r}, only {', '.join(row)}")
    _check_prompts_given(rows, dataset)
    prompt = rows[0]["prompt"]
    if isinstance(prompt, str):
        raise InputError(
            f"the prompts of the training data are plain text, the first is {prompt[:60]!r}; give messages, "
            "[{'role': 'user', 'content': …}], which the chat template renders as it does when the model is asked"
        )
    return Dataset.from_list(list(rows)) if dataset is None else dataset


def _check_prompts_given(rows: "Rows", dataset: "Dataset | None") -> None:
    """Raise InputError for the first row whose prompt is null."""
    # Arrow keeps count, so the many rows of a Dataset are read only if one is null.
    if dataset is not None and dataset.data.column("prompt").null_count == 0:
        return
    for number, row in enumerate(rows, start=1):
        if row["prompt"] is None:
            raise InputError(f"row {number} of the training data has nothing in 'prompt'; give messages or remove it")


def check_enough_prompts(rows: int, key: str, step: int) -> None:
    """Raise InputError if there are fewer prompts than a step takes."""
    if rows < step:
        raise InputError(
            f"{rows} prompts cannot fill a step of {key} {step}; lower {key} to at most {rows}, or give more prompts"
        )
