"""From texts to token ids: a chat template once, at most one BOS."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from headscope.errors import InputError
from headscope.pairs.candidates import Candidate

# A prompt as chat messages ({"role": …, "content": …}), or as text that was rendered already.
Prompt = str | Sequence[Mapping[str, Any]]


def candidates(
    tokenizer: Any, clean: Sequence[str], corrupt: Sequence[str], prompts: Sequence[Prompt] | None
) -> list[Candidate]:
    """Texts, or prompts with two answers each, as token ids; a prompt that stands several times is rendered once.

    Raises InputError where the numbers differ, or the tokenizer is missing or refuses a text.
    """
    if not (len(clean) == len(corrupt) == (len(clean) if prompts is None else len(prompts))):
        counts = f"{len(clean)} clean and {len(corrupt)} corrupt texts"
        asked = "" if prompts is None else f" for {len(prompts)} prompts"
        raise InputError(f"found {counts}{asked}; give one of each per pair")
    if tokenizer is None:
        raise InputError("there is no tokenizer, so texts have no token ids; give one, or ids to Pairs.from_tokens")
    if prompts is None:
        texts = zip(clean, corrupt, strict=True)
        return [Candidate((), _whole(tokenizer, one), _whole(tokenizer, other)) for one, other in texts]
    rendered = {str(prompt): _prompt(tokenizer, prompt) for prompt in {str(each): each for each in prompts}.values()}
    return [
        Candidate(rendered[str(prompt)], encode(tokenizer, one), encode(tokenizer, other))
        for prompt, one, other in zip(prompts, clean, corrupt, strict=True)
    ]


def single_token(tokenizer: Any, text: str) -> int:
    """The id of a text that is one token. Raises InputError where it is none or several."""
    tokens = encode(tokenizer, text)
    if len(tokens) != 1:
        raise InputError(f"label {text!r} is {len(tokens)} tokens; a label is the one token that comes next")
    return tokens[0]


def encode(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    """Token ids of ``text``; ``special`` lets the tokenizer add its own, such as BOS."""
    try:
        return [int(token) for token in tokenizer(text, add_special_tokens=special)["input_ids"]]
    except Exception as error:  # the tokenizers library raises bare Exception, and TypeError for lone surrogates
        reason = str(error).splitlines()[0]
        raise InputError(f"the tokenizer cannot encode {text[:60]!r}: {reason}") from error


def _whole(tokenizer: Any, text: str) -> list[int]:
    return _one_bos(tokenizer, encode(tokenizer, text, special=True))


def _prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """A template writes BOS where the model wants it, so the tokenizer adds none."""
    text = prompt if isinstance(prompt, str) else _rendered(tokenizer, prompt)
    return _one_bos(tokenizer, encode(tokenizer, text))


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """The prompt's text, ending where the answer begins."""
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
    except (jinja2.TemplateError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the chat template cannot render {str(messages)[:60]}: {reason}") from error


def _one_bos(tokenizer: Any, tokens: list[int]) -> list[int]:
    """Without the second of two leading BOS: text that holds one, and a tokenizer that adds another."""
    bos = tokenizer.bos_token_id
    while bos is not None and tokens[:2] == [bos, bos]:
        tokens = tokens[1:]
    return tokens
