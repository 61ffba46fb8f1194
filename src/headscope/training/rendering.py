"""Render a training row by the chat template and find which part of the text is read and which is learned.

Text in and text out, before any training: a template may drop what it is given (R1-Distill's drops everything before
``</think>``), or put words before the answer that the answers trained on do not begin with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError, count_noun
from headscope.model_files.chat_templates import (
    common_length,
    render_chat,
    shipped_templates,
    stop_tokens,
    template_name,
    turn_end,
)
from headscope.training.conversations import TEXT_KEYS, check_conversation

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

TrainingRow = Mapping[str, Any]
"""A row of training data: ``prompt`` and, for SFT, ``completion`` as messages, ``chat_template_kwargs``."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One row as text.

    prompt: read without loss. answer: learned, the end of the turn included. asked: the prompt as the model is asked.
    """

    prompt: str
    answer: str
    asked: str


def render_row(tokenizer: "PreTrainedTokenizerBase", row: TrainingRow) -> Rendered:
    """Render a row with a completion as ``trl.SFTTrainer`` does: the loss begins where asking and answering part."""
    switches = row.get("chat_template_kwargs") or {}
    asked = render_chat(tokenizer, row["prompt"], switches, add_generation_prompt=True)
    whole = render_chat(tokenizer, [*row["prompt"], *row["completion"]], switches, add_generation_prompt=False)
    # If a template asks with words that the answer does not begin with, the two differ before the prompt's end.
    start = common_length(asked, whole)
    return Rendered(whole[:start], whole[start:], asked)


def check_completions(tokenizer: "PreTrainedTokenizerBase", rows: Iterable[TrainingRow]) -> None:
    """Raise InputError if what a row teaches is not what it says.

    It is no conversation with an answer, the template loses a part of a completion, it trains on another prompt than it
    asks with, or the end of the answer is no token at which sampling stops.
    """
    for number, row in enumerate(rows, start=1):
        check_conversation(row, f"row {number} of the training data")
        text = render_row(tokenizer, row)
        _check_nothing_lost(tokenizer, row, text, number)
        _check_asked_alike(tokenizer, text, number)
        _check_ends(tokenizer, text, number)


def _check_nothing_lost(tokenizer: "PreTrainedTokenizerBase", row: TrainingRow, text: Rendered, number: int) -> None:
    """Raise InputError if the text lacks some of a message. White space does not count: templates trim it."""
    for message in row["completion"]:
        for content in filter(None, map(message.get, TEXT_KEYS)):
            if not _is_learned(content, text):
                missing = _first_missing_part(content, text)[:60]
                raise InputError(
                    f"{template_name(tokenizer)} leaves {missing!r} out of the completion of row "
                    f"{number}, so it would not be learned; {_remedy(tokenizer)}"
                )


def _check_asked_alike(tokenizer: "PreTrainedTokenizerBase", text: Rendered, number: int) -> None:
    if not _remove_spaces(text.prompt + text.answer).startswith(_remove_spaces(text.asked)):
        raise InputError(
            f"{template_name(tokenizer)} asks with {text.asked[len(text.prompt) :][:60]!r} before the answer, and the "
            f"completion of row {number} does not begin with it; let completions begin so, or give "
            "base.chat_template a template that asks without it"
        )


def _check_ends(tokenizer: "PreTrainedTokenizerBase", text: Rendered, number: int) -> None:
    stops = [str(tokenizer.convert_ids_to_tokens(token)) for token in stop_tokens(tokenizer)]
    if not any(stop in text.answer for stop in stops):
        raise InputError(
            f"{template_name(tokenizer)} ends the answer of row {number} with {text.answer[-40:]!r}, which holds no "
            f"token that ends a turn ({', '.join(stops) or 'the tokenizer names none'}), so the model would never "
            "learn to stop; give base.chat_template a template that writes one after the assistant's words"
        )


def describe_rows(tokenizer: "PreTrainedTokenizerBase", rows: "Dataset", *, max_length: int | None = None) -> str:
    """Describe the first row of ``describe_row``, and how many rows teach nothing but the end of a turn."""
    description = describe_row(tokenizer, rows[0], max_length=max_length)
    empty = sum(not any(message.get(key) for message in row["completion"] for key in TEXT_KEYS) for row in rows)
    if empty:
        rows_named = count_noun(empty, "row")
        description += (
            f"--- {rows_named} of {len(rows)} with an empty completion: only the end of a turn is learned ---\n"
        )
    return description


def describe_row(
    tokenizer: "PreTrainedTokenizerBase",
    row: TrainingRow,
    switches: Mapping[str, object] | None = None,
    *,
    max_length: int | None = None,
) -> str:
    """Describe what a row is trained on, its parts marked.

    switches: of the template, for rows without a completion.
    max_length: tokens of prompt and completion together that are trained on.
    """
    if "completion" in row:
        text = render_row(tokenizer, row)
        prompt = text.prompt
        answer = text.answer
        note = "learned"
    else:
        # GRPO and distillation have no answer before the model writes one.
        prompt = render_chat(tokenizer, row["prompt"], switches or {}, add_generation_prompt=True)
        answer = "(what the model writes, up to its end of turn)"
        note = "learned by its reward or its teacher"
    description = f"--- prompt: read, no loss ---\n{prompt}\n--- answer: {note} ---\n{answer}\n"
    if max_length is not None:
        length = len(tokenizer(prompt + answer, add_special_tokens=False)["input_ids"])
        if length > max_length:
            description += f"--- cut after {max_length} of {length} tokens ---\n"
    return description


def _remove_spaces(text: str) -> str:
    """Return a text without its white space."""
    return "".join(text.split())


def _is_learned(content: str, text: Rendered) -> bool:
    """Return whether all of ``content`` is there and ends in the answer; a prompt may open it."""
    prompt = _remove_spaces(text.prompt)
    start = (prompt + _remove_spaces(text.answer)).rfind(_remove_spaces(content))
    return start >= 0 and start + len(_remove_spaces(content)) > len(prompt)


def _first_missing_part(content: str, text: Rendered) -> str:
    """Return the beginning of ``content`` up to the part that is in the answer; all of it if none is."""
    answer = _remove_spaces(text.answer)
    start = next(index for index in range(len(content) + 1) if _remove_spaces(content[index:]) in answer)
    return content[:start]


def _remedy(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Name TRL's variant of the template that keeps whole answers, if it has one that this tokenizer can end."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        whole = get_training_chat_template(tokenizer)
    except ValueError:  # a template TRL does not know
        whole = None
    if whole and turn_end(tokenizer, whole) is not None:
        for name, path in shipped_templates().items():
            if path.read_text(encoding="utf-8") == whole:
                return f"give base.chat_template: {name}"
    return "give base.chat_template: a template that keeps whole answers"
