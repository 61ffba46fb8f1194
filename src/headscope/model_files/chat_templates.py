"""Chat templates, and where they end an assistant's turn.

The end is found by rendering a turn, because tokenizers and configs of base models may name another token: Qwen2.5-Math
names ``<|endoftext|>``, its template writes ``<|im_end|>``, and a model trained through it would never stop.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from headscope.errors import InputError
from headscope.model_files.template_probe import check_ends
from headscope.storage import read_object

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

_CONTENT = "headscope"
"""The content of the probed assistant turn; the template's own end follows it."""
_ORIGIN = "chat_template_origin"
"""The attribute of a tokenizer that says where its template comes from, if it is not its own."""

# Expressions in a template are Python's, and raise what Python raises; a range beyond Jinja's limit overflows.
_TEMPLATE_ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError),
    *(ArithmeticError, MemoryError, RecursionError),
)


def set_template(tokenizer: "PreTrainedTokenizerBase", template: str, origin: str) -> None:
    """Give a tokenizer another chat template. origin: what errors call it, such as ``own.jinja``."""
    tokenizer.chat_template = template
    setattr(tokenizer, _ORIGIN, origin)


def template_name(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return what errors call a tokenizer's chat template: where it was given from, or whose it is."""
    origin = getattr(tokenizer, _ORIGIN, None)
    if origin is not None:
        return f"chat template {origin}"
    return f"the chat template of {getattr(tokenizer, 'name_or_path', '') or 'the model'}"


def render_chat(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Mapping[str, object]],
    switches: Mapping[str, object],
    *,
    add_generation_prompt: bool,
) -> str:
    """Return a conversation as the chat template writes it. switches: what the template is told beside it.

    Raises InputError if the template is no Jinja, does not come to an end, or fails on this conversation.
    """
    try:
        return _apply(tokenizer, messages, {**switches, "add_generation_prompt": add_generation_prompt})
    except InputError:  # a ValueError too
        raise
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            f"{template_name(tokenizer)} is not valid Jinja: {error.message} in line {error.lineno}; correct it, or "
            "give another (chat_template:)"
        ) from error
    except _TEMPLATE_ERRORS as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise InputError(
            f"{template_name(tokenizer)} refuses a conversation of the roles {roles}: {error}; give one that takes it "
            "(chat_template:), or ask otherwise (chat:)"
        ) from error


def _apply(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Mapping[str, object]],
    switches: Mapping[str, object],
    template: str | None = None,
) -> str:
    """Render a conversation through the tokenizer's template, or another, once that is known to come to an end."""
    text = str(tokenizer.get_chat_template(template))
    check_ends(text, template_name(tokenizer), messages, {**tokenizer.special_tokens_map, **switches})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template, **switches))


def common_length(first: str, second: str) -> int:
    """Count the characters two texts begin with alike."""
    if second.startswith(first):
        return len(first)
    # Bisection compares slices in C; a loop over the characters of long prompts would not.
    return bisect_left(range(min(len(first), len(second))), True, key=lambda end: first[: end + 1] != second[: end + 1])


def turn_end(tokenizer: "PreTrainedTokenizerBase", template: str | None = None) -> int | None:
    """Return the id of the special token the chat template writes after an assistant's words.

    None if there is no template, it ends turns with plain text, or it writes nothing after the last one.
    template: another than the tokenizer's own.
    """
    if not (template or tokenizer.chat_template):
        return None
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _CONTENT}]
    try:
        text = _apply(tokenizer, turns, {}, template)
    except InputError:
        raise
    except _TEMPLATE_ERRORS:  # the template refuses this conversation, so its end stays unknown
        return None
    _, content, after = text.rpartition(_CONTENT)
    ids = {token: index for token, index in tokenizer.get_added_vocab().items() if after.lstrip().startswith(token)}
    # The longest match is the one that a tokenizer takes.
    return ids[max(ids, key=len)] if content and ids else None


def stop_tokens(
    tokenizer: "PreTrainedTokenizerBase", generation_config: "GenerationConfig | None" = None
) -> tuple[int, ...]:
    """Return the ids that end a response: the template's end of turn, the tokenizer's, the generation config's.

    The first one is the token that a finished answer is expected to end with.
    """
    configured = getattr(generation_config, "eos_token_id", None)
    configured_ids = configured if isinstance(configured, list | tuple) else [configured]
    ids = (turn_end(tokenizer), tokenizer.eos_token_id, *configured_ids)
    return tuple(dict.fromkeys(int(token) for token in ids if token is not None))


def shipped_templates() -> dict[str, Path]:
    """Return the chat templates that TRL ships, by name, such as ``deepseek_r1_distill_training``."""
    (folder,) = find_spec("trl").submodule_search_locations  # type: ignore[union-attr,misc]
    return {path.stem: path for path in sorted((Path(folder) / "chat_templates").glob("*.jinja"))}


def local_template(source: str) -> str | None:
    """Return the chat template of a .jinja file, a model folder or a name of ``shipped_templates``; None for a hub id.

    Raises InputError if the file or the folder's template is missing.
    """
    path = Path(source).expanduser()
    if path.suffix in (".jinja", ".j2"):
        if not path.is_file():
            raise InputError(f"chat template {source} does not exist; give a .jinja file, a model folder or a hub id")
        return _read_template(path)
    if not path.is_dir():
        shipped = shipped_templates().get(source)
        return None if shipped is None else shipped.read_text(encoding="utf-8")
    if (path / "chat_template.jinja").is_file():
        return _read_template(path / "chat_template.jinja")
    settings = path / "tokenizer_config.json"
    template = read_object(settings).get("chat_template") if settings.is_file() else None
    if not isinstance(template, str):
        raise InputError(f"{source} has no chat template; give a .jinja file, another model folder or a hub id")
    return template


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"chat template {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
