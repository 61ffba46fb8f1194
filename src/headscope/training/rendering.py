"""What a row is trained on: the text the chat template makes of it, which part is read and which is learned.

Text in and text out, before any training: a template may drop what it is given (R1-Distill's drops everything before
``</think>``), or put words before the answer that the answers trained on do not begin with.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from headscope.errors import InputError

_SPOKEN = ("reasoning_content", "reasoning", "thinking", "content")
"""Keys of a message whose text a template may write."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One row as text.

    prompt: read without loss. answer: learned, the end of the turn included. asked: the prompt as the model is asked.
    """

    prompt: str
    answer: str
    asked: str


def rendered(tokenizer: Any, row: Mapping[str, Any]) -> Rendered:
    """Render a row with a completion as ``trl.SFTTrainer`` does: the loss begins where asking and answering part."""
    switches = row.get("chat_template_kwargs") or {}
    asked = _text(tokenizer, row["prompt"], switches, add_generation_prompt=True)
    whole = _text(tokenizer, [*row["prompt"], *row["completion"]], switches, add_generation_prompt=False)
    start = _shared(asked, whole)
    return Rendered(whole[:start], whole[start:], asked)


def check_completions(tokenizer: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise InputError if the template loses a part of a completion, or trains on another prompt than it asks with.

    White space does not count: templates trim it.
    """
    for index, row in enumerate(rows):
        text = rendered(tokenizer, row)
        for message in row["completion"]:
            for content in filter(None, map(message.get, _SPOKEN)):
                if not _is_learned(content, text):
                    raise InputError(
                        f"the chat template of {_name(tokenizer)} leaves {_lost(content, text)[:60]!r} out of the "
                        f"completion of row {index}, so it would not be learned; {_remedy(tokenizer)}"
                    )
        if not _bare(text.prompt + text.answer).startswith(_bare(text.asked)):
            raise InputError(
                f"the chat template of {_name(tokenizer)} asks with {text.asked[len(text.prompt) :][:60]!r} before the "
                f"answer, and the completion of row {index} does not begin with it; let completions begin so, or give "
                "base.chat_template a template that asks without it"
            )


def described(
    tokenizer: Any, row: Mapping[str, Any], switches: Mapping[str, Any] | None = None, *, max_length: int | None = None
) -> str:
    """Describe what a row is trained on, its parts marked. switches: of the template, for rows without a completion.

    max_length: tokens that are kept of prompt and completion together.
    """
    if "completion" in row:
        text = rendered(tokenizer, row)
        prompt, answer, told = text.prompt, text.answer, "learned"
    else:
        prompt = _text(tokenizer, row["prompt"], switches or {}, add_generation_prompt=True)
        answer, told = "(what the model writes, up to its end of turn)", "learned by its reward or its teacher"
    parts = f"--- prompt: read, no loss ---\n{prompt}\n--- answer: {told} ---\n{answer}\n"
    length = len(tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]) if max_length else 0
    return parts + (f"--- cut after {max_length} of {length} tokens ---\n" if length > (max_length or 0) else "")


def _text(tokenizer: Any, messages: Any, switches: Mapping[str, Any], *, add_generation_prompt: bool) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt, **switches
            )
        )
    except jinja2.TemplateError as error:
        roles = [message["role"] for message in messages]
        raise InputError(f"the chat template of {_name(tokenizer)} refuses {roles} messages: {error}") from error


def _bare(text: str) -> str:
    return "".join(text.split())


def _shared(one: str, other: str) -> int:
    """Count the characters two texts begin with alike."""
    if other.startswith(one):
        return len(one)
    return bisect_left(range(min(len(one), len(other))), True, key=lambda at: one[: at + 1] != other[: at + 1])


def _is_learned(content: str, text: Rendered) -> bool:
    """Whether all of ``content`` is there and ends in the answer; it may begin in a prompt that opens the answer."""
    prompt = _bare(text.prompt)
    start = (prompt + _bare(text.answer)).rfind(_bare(content))
    return start >= 0 and start + len(_bare(content)) > len(prompt)


def _lost(content: str, text: Rendered) -> str:
    """The beginning of ``content`` up to the part that is in the answer; all of it if none is."""
    answer = _bare(text.answer)
    start = next(index for index in range(len(content) + 1) if _bare(content[index:]) in answer)
    return content[:start]


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "the model"


def _remedy(tokenizer: Any) -> str:
    """Name TRL's variant of the template that keeps whole answers, if it has one."""
    from trl.chat_template_utils import get_training_chat_template

    from headscope.model_files.chat_templates import shipped_templates

    try:
        whole = get_training_chat_template(tokenizer)
    except ValueError:  # a template TRL does not know
        whole = None
    names = [name for name, path in shipped_templates().items() if whole and path.read_text(encoding="utf-8") == whole]
    return f"give base.chat_template: {names[0] if names else 'a template that keeps whole answers'}"
