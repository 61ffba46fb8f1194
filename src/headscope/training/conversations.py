"""Check a row of training data before a chat template sees it: it needs whole messages and an answer to learn."""

from collections.abc import Mapping

from headscope.errors import InputError

TEXT_KEYS = ("reasoning_content", "reasoning", "thinking", "content")
"""Keys of a message whose text a template may write."""
_SPEAKERS_OF_PROMPTS = ("user", "system")


def check_conversation(row: Mapping[str, object], place: str, columns: Mapping[str, str] | None = None) -> None:
    """Raise InputError unless prompt and completion are messages with roles and texts, and the last one is an answer.

    Args:
        row: with ``prompt`` and ``completion``.
        place: what the row is called, such as ``row 3 of data.jsonl``.
        columns: where the user wrote prompt and completion, if not in columns of these names.
    """
    columns = columns or {}
    prompt_column, completion_column = columns.get("prompt", "prompt"), columns.get("completion", "completion")
    _check_messages(row.get("prompt"), place, prompt_column)
    completion = _check_messages(row.get("completion"), place, completion_column)
    role = completion[-1]["role"]
    if role in _SPEAKERS_OF_PROMPTS:
        raise InputError(
            f"{place} ends with a message of the role {role} in column {completion_column!r}, and the last message is "
            "what is learned; end it with the assistant's, or remove the row"
        )


def _check_messages(value: object, place: str, column: str) -> list[Mapping[str, object]]:
    """Return the messages of a cell."""
    if value is None:
        raise InputError(f"{place} has nothing in column {column!r}; give text or messages there, or remove the row")
    if not isinstance(value, list):
        raise InputError(
            f"{place} has {value!r:.40} in column {column!r}; messages with role and content are needed, or in a study "
            "plain text"
        )
    if not value:
        raise InputError(f"{place} has no message in column {column!r}; give at least one, or remove the row")
    for message in value:
        _check_message(message, place, column)
    return value


def _check_message(message: object, place: str, column: str) -> None:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InputError(
            f"{place} has a message without a role in column {column!r}: {message!r:.80}; every message needs role and "
            "content"
        )
    texts = [message.get(key) for key in TEXT_KEYS if message.get(key) is not None]
    if not texts and not message.get("tool_calls"):
        raise InputError(
            f"{place} has a message of the role {message['role']} without content in column {column!r}; give it text, "
            "or remove the row"
        )
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{place} has {text!r:.40} as content in column {column!r}; text is needed")
