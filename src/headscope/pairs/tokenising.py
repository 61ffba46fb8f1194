"""Token ids from texts: a chat template is rendered once, and a text has at most one BOS."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import jinja2

from headscope.errors import InputError
from headscope.pairs.candidates import Candidate

_MESSAGE = {"role", "content"}
# A prompt as chat messages ({"role": …, "content": …}), or as text that was rendered already.
Prompt = str | Sequence[Mapping[str, object]]


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that pairs need (this package does not import transformers)."""

    bos_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, Sequence[int]]:
        """Return token ids under ``"input_ids"``."""

    def apply_chat_template(
        self, conversation: list[Mapping[str, object]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """Return chat messages as the text the model was trained on."""


def encode_candidates(
    tokenizer: Tokenizer | None, clean: Sequence[str], corrupt: Sequence[str], prompts: Sequence[Prompt] | None
) -> list[Candidate]:
    """Return texts, or prompts with two answers each, as token ids; a repeated prompt is rendered once.

    Raises InputError if a list is a text, the numbers differ, or the tokenizer is missing or refuses a text.
    """
    for name, texts in (("clean", clean), ("corrupt", corrupt), ("prompts", prompts)):
        if isinstance(texts, str):
            raise InputError(f"{name} is one text, {texts[:40]!r}; give a list of texts, one per pair")
    if not (len(clean) == len(corrupt) == (len(clean) if prompts is None else len(prompts))):
        counts = f"{len(clean)} clean and {len(corrupt)} corrupt texts"
        prompt_count = "" if prompts is None else f" for {len(prompts)} prompts"
        raise InputError(f"found {counts}{prompt_count}; give one of each per pair")
    if tokenizer is None:
        raise InputError("there is no tokenizer, so texts have no token ids; give one, or ids to Pairs.from_tokens")
    for prompt in prompts or ():
        _check_prompt(prompt)
    candidates = []
    if prompts is None:
        for clean_text, corrupt_text in zip(clean, corrupt, strict=True):
            clean_tokens = _encode_whole(tokenizer, clean_text)
            candidates.append(Candidate((), clean_tokens, _encode_whole(tokenizer, corrupt_text)))
        return candidates
    prompt_tokens: dict[str, list[int]] = {}
    for prompt, clean_text, corrupt_text in zip(prompts, clean, corrupt, strict=True):
        key = str(prompt)  # messages cannot be hashed
        if key not in prompt_tokens:
            prompt_tokens[key] = _encode_prompt(tokenizer, prompt)
        clean_tokens = encode(tokenizer, clean_text)
        candidates.append(Candidate(prompt_tokens[key], clean_tokens, encode(tokenizer, corrupt_text)))
    return candidates


def _check_prompt(prompt: object) -> None:
    """Raise InputError unless it is a text or a list of chat messages; a template renders anything else as nothing."""
    if isinstance(prompt, str):
        return
    messages = list(prompt) if isinstance(prompt, Sequence) else None
    if not messages or not all(isinstance(message, Mapping) and message.keys() >= _MESSAGE for message in messages):
        raise InputError(
            f"a prompt is {str(prompt)[:60]}; give a text, or a list of messages with role and content per prompt"
        )


def encode_labels(tokenizer: Tokenizer, labels: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Return the ids of each pair's right and wrong next token. Raises InputError unless a label is two such texts."""
    rows = []
    for index, label in enumerate(labels):
        if isinstance(label, str) or len(label) != 2:
            raise InputError(f"label of pair {index} is {label!r:.40}; give two texts, the right and the wrong token")
        rows.append((single_token(tokenizer, label[0]), single_token(tokenizer, label[1])))
    return rows


def single_token(tokenizer: Tokenizer, text: str) -> int:
    """Return the id of a text that is one token. Raises InputError if it is not exactly one."""
    tokens = encode(tokenizer, text)
    if len(tokens) != 1:
        raise InputError(f"label {text!r} is {len(tokens)} tokens; a label is the one token that comes next")
    return tokens[0]


def encode(tokenizer: Tokenizer, text: str, *, special: bool = False) -> list[int]:
    """Return token ids of ``text``; with ``special`` the tokenizer adds its special tokens, such as BOS."""
    try:
        return [int(token) for token in tokenizer(text, add_special_tokens=special)["input_ids"]]
    except Exception as error:  # the tokenizers library raises bare Exception, and TypeError for lone surrogates
        reason = str(error).splitlines()[0]
        raise InputError(f"the tokenizer cannot encode {text[:60]!r}: {reason}") from error


def _encode_whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a text after those that the tokenizer puts before it, such as BOS.

    What it may put after it, such as EOS, is left out: a pair is read at its last token, and there the text goes on.
    Raises InputError if the tokenizer writes the text itself in other tokens next to them.
    """
    tokens = encode(tokenizer, text)
    framed = encode(tokenizer, text, special=True)
    for start in range(len(framed) - len(tokens) + 1):
        if framed[start : start + len(tokens)] == tokens:
            return _drop_extra_bos(tokenizer, framed[: start + len(tokens)])
    raise InputError(
        f"the tokenizer writes {text[:60]!r} in other tokens with its special tokens than without; give ids "
        "(Pairs.from_tokens)"
    )


def _encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> list[int]:
    # A template writes BOS if the model wants it, so the tokenizer adds none.
    text = prompt if isinstance(prompt, str) else _render(tokenizer, prompt)
    return _drop_extra_bos(tokenizer, encode(tokenizer, text))


def _render(tokenizer: Tokenizer, messages: Sequence[Mapping[str, object]]) -> str:
    """Return the prompt's text, up to where the answer begins."""
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
    except (jinja2.TemplateError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the chat template cannot render {str(messages)[:60]}: {reason}") from error


def _drop_extra_bos(tokenizer: Tokenizer, tokens: list[int]) -> list[int]:
    """Return ``tokens`` without a second leading BOS: if the text has one, the tokenizer adds another."""
    bos = tokenizer.bos_token_id
    while bos is not None and tokens[:2] == [bos, bos]:
        tokens = tokens[1:]
    return tokens
