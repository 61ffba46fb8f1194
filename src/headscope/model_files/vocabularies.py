"""Vocabularies: whether two models agree which token has which id, and whether every token has an embedding."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.storage import read_object

# Placeholders for images and sound: text-only Gemma 3 models name one that their embedding has no row for.
_NEVER_WRITTEN = re.compile("image|audio|video|vision")


_ONE_VOCABULARY = "only models of one vocabulary are compared, but for tokens at the end"


def check_token_ids(
    base: Mapping[str, int],
    variant: Mapping[str, int],
    *,
    variant_name: str = "variant",
    base_name: str = "base",
    advice: str = _ONE_VOCABULARY,
) -> None:
    """Raise InputError unless two vocabularies are equal, or one is the other with further tokens after its last id.

    The message names the token of lowest id that differs, and ends with ``advice``.
    """
    last = min(max(ids.values(), default=0) for ids in (base, variant))

    def id_of(token: str) -> int:
        return base.get(token, variant.get(token, 0))

    differing = []
    for token in {**variant, **base}:
        is_at_end = (token in base) != (token in variant) and id_of(token) > last
        if variant.get(token) != base.get(token) and not is_at_end:
            differing.append(token)
    if differing:
        # The one of lowest id, because tokenizers list their vocabulary in no fixed order.
        token = min(differing, key=id_of)
        in_variant, in_base = str(variant.get(token, "absent")), str(base.get(token, "absent"))
        raise InputError(
            f"{variant_name} has another vocabulary than {base_name}: token {token!r} is {in_variant} in it and "
            f"{in_base} in {base_name}; {advice}"
        )


def check_same_vocabulary(
    base: Path, variant: Path, *, variant_name: str = "variant", advice: str = _ONE_VOCABULARY
) -> None:
    """Raise InputError if two folders' ``tokenizer.json`` give a token different ids (``check_token_ids``).

    Added tokens are free to differ: R1-style models rename their base's chat markers. A folder without the file
    passes.
    """
    paths = [folder / "tokenizer.json" for folder in (base, variant)]
    if not all(path.is_file() for path in paths) or paths[0].read_bytes() == paths[1].read_bytes():
        return
    base_ids, variant_ids = _token_ids(read_object(paths[0])), _token_ids(read_object(paths[1]))
    check_token_ids(base_ids, variant_ids, variant_name=variant_name, advice=advice)


def check_token_rows(folder: Path, rows: int) -> None:
    """Raise InputError if ``tokenizer.json`` gives a token an id that an embedding of ``rows`` rows lacks.

    Tokens that no text holds may lack a row: placeholders for images and sound, the padding, and a name for unknown
    text that the tokenizer never gives.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    status = path.stat()
    token, index = _last_token(path, status.st_size, status.st_mtime_ns, _special_names(folder))
    if index >= rows:
        raise InputError(
            f"the tokenizer of {folder} has token {token!r} with id {index} and the embedding has {rows} rows; "
            "call resize_token_embeddings and train it, or take the model's own tokenizer"
        )


def _special_names(folder: Path) -> tuple[str, ...]:
    """Return the tokens that the tokenizer's settings call padding and unknown."""
    path = folder / "tokenizer_config.json"
    settings = read_object(path) if path.is_file() else {}
    tokens = (settings.get("pad_token"), settings.get("unk_token"))
    return tuple(token["content"] if isinstance(token, dict) else token for token in tokens if token)


@lru_cache(maxsize=256)
def _last_token(path: Path, size: int, modified: int, special_names: tuple[str, ...]) -> tuple[str, int]:
    """Return the token of the highest id that a text can hold, and the id.

    size, modified: of the file, so that one that did not change is read once.
    special_names: of padding and unknown text; the latter counts if the tokenizer's own model gives it.
    """
    content = read_object(path)  # once: it holds megabytes
    ids = _token_ids(content)
    ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    unknown = content.get("model", {}).get("unk_token")
    unwritten = set(special_names) - {unknown}
    last_token, last_index = "", -1
    for token, index in ids.items():
        if index > last_index and token not in unwritten and not _NEVER_WRITTEN.search(token):
            last_token, last_index = token, index
    return last_token, last_index


def _token_ids(content: dict[str, Any]) -> dict[str, int]:
    """Return the ids of the tokens that are not added, from what ``tokenizer.json`` holds."""
    vocabulary: dict[str, int] | list[tuple[str, float]] = content.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, dict):
        return vocabulary
    return {token: index for index, (token, _score) in enumerate(vocabulary)}  # Unigram lists [token, score]
