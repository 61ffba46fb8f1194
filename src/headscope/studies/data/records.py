"""Training records: prompt and completion, or whole conversations, from a user's file or a data set of the hub."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError, count_noun
from headscope.evaluation import Chat
from headscope.evaluation.table_files import SUFFIXES, read_table
from headscope.lab import builtin_data as lab
from headscope.model_files import hub
from headscope.training import launch
from headscope.training.conversations import check_conversation

if TYPE_CHECKING:
    from datasets import Dataset

Record = dict[str, Any]
"""``prompt`` and ``completion`` as messages, ``chat_template_kwargs`` if the data has them."""

_Split = Callable[[Mapping[str, Any], str, Chat], tuple[Record, dict[str, str]]]
"""Makes a record of a row, and says in which columns prompt and completion were written."""
_COMPLETION, _CONVERSATION, _SWITCHES = ("prompt", "completion"), "messages", "chat_template_kwargs"


def read_records(name: str, chat: Chat) -> "list[Record] | Dataset":
    """Read prompt and completion messages for SFT from a table file or a hub data set.

    Texts become messages, of whole conversations (``messages``) the last turn is learned, and prompts without a system
    message get the chat's: as they are asked.

    Raises InputError if there is no such data, it has no such columns, or a row cannot be learned.
    """
    if Path(name).suffix in SUFFIXES:
        rows = read_table(Path(name), "data set")
        columns = list(dict.fromkeys(column for row in rows for column in row))
        convert = _converter(name, columns, chat)
        return [convert(row, index) for index, row in enumerate(rows)]
    with launch.quiet():
        dataset = _from_hub(name)
        convert = _converter(name, dataset.column_names, chat)
        return dataset.map(convert, with_indices=True, remove_columns=dataset.column_names)


def _from_hub(name: str) -> Any:
    try:
        return hub.load_dataset(name, split="train")
    except Exception as error:  # the library raises whatever its readers raise
        known, reason = ", ".join(lab.DATASETS), str(error).split("\n")[0]
        raise InputError(
            f"data set {name!r} is none of {known}, no file ({', '.join(SUFFIXES)}) and no hub id that can be read: "
            f"{reason}"
        ) from None


def _converter(name: str, columns: Sequence[str], chat: Chat) -> Callable[[Mapping[str, Any], int], Record]:
    """Return the function that makes a record of a row and its index."""
    if not set(_COMPLETION) <= set(columns) and _CONVERSATION not in columns:
        raise InputError(
            f"data set {name!r} has the columns {', '.join(columns)}; needed: prompt and completion, messages, "
            "or a task with worked answers, {file: …, solution: …}"
        )
    split: _Split = _split_conversation if not set(_COMPLETION) <= set(columns) else _take_completion
    return partial(_as_record, name=name, split=split, has_switches=_SWITCHES in columns, chat=chat)


def _as_record(
    row: Mapping[str, Any], index: int, *, name: str, split: _Split, has_switches: bool, chat: Chat
) -> Record:
    place = f"row {index + 1} of {name}"
    record, columns = split(row, place, chat)
    check_conversation(record, place, columns)
    # A prompt that has a system message keeps it.
    if chat.system and record["prompt"][0]["role"] != "system":
        record["prompt"] = [{"role": "system", "content": chat.system}, *record["prompt"]]
    if has_switches:
        record[_SWITCHES] = row.get(_SWITCHES)
    return record


def _take_completion(row: Mapping[str, Any], place: str, chat: Chat) -> tuple[Record, dict[str, str]]:
    """Return prompt and completion; plain text is what the user and the assistant say."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str):
        prompt = chat.messages(prompt)
    if isinstance(completion, str):
        completion = [{"role": "assistant", "content": completion}]
    return {"prompt": prompt, "completion": completion}, {}


def _split_conversation(row: Mapping[str, Any], place: str, chat: Chat) -> tuple[Record, dict[str, str]]:
    """Return what comes before the last message of a conversation, and the last one, the only one learned."""
    messages = row.get(_CONVERSATION)
    if isinstance(messages, list) and len(messages) == 1:
        raise InputError(
            f"{place} has {count_noun(1, 'message')} in column {_CONVERSATION!r}; two are needed, a question and the "
            "answer that is learned"
        )
    record = {"prompt": messages, "completion": messages}
    if isinstance(messages, list) and messages:
        record = {"prompt": messages[:-1], "completion": messages[-1:]}
    return record, dict.fromkeys(_COMPLETION, _CONVERSATION)
