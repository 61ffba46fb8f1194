"""Chat templates, and where they end an assistant's turn.

The end is found by rendering a turn, because tokenizers and configs of base models may name another token: Qwen2.5-Math
names ``<|endoftext|>``, its template writes ``<|im_end|>``, and a model trained through it would never stop.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from headscope.errors import InputError
from headscope.storage import read_object

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

_CONTENT = "headscope"
"""The content of the probed assistant turn; the template's own end follows it."""


def turn_end(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the id of the special token the chat template writes after an assistant's words.

    None if there is no template, it ends turns with plain text, or it writes nothing after the last one.
    """
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _CONTENT}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except jinja2.TemplateError:  # the template refuses this conversation, so its end stays unknown
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
        return path.read_text(encoding="utf-8")
    if not path.is_dir():
        shipped = shipped_templates().get(source)
        return None if shipped is None else shipped.read_text(encoding="utf-8")
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text(encoding="utf-8")
    settings = path / "tokenizer_config.json"
    template = read_object(settings).get("chat_template") if settings.is_file() else None
    if not isinstance(template, str):
        raise InputError(f"{source} has no chat template; give a .jinja file, another model folder or a hub id")
    return template
