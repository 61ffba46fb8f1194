"""A model's folder on disk, judged without torch: whole safetensors, one shape, one vocabulary."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.storage import read_object

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# What two models must share for their heads to be compared: the name people use, then the spellings configs
# use.
_SHAPE = {
    "layers": ("num_hidden_layers", "n_layer"),
    "heads": ("num_attention_heads", "n_head"),
    "vocabulary entries": ("vocab_size",),
}


def check_weights(folder: Path) -> None:
    """Raise InputError unless ``folder`` has a config and whole safetensors weights. Reads headers only."""
    read_model_config(folder)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weights = sorted({folder / name for name in read_object(index)["weight_map"].values()})
    else:
        weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise InputError(_no_safetensors(folder))
    for path in weights:
        if not _is_whole(path):
            raise InputError(
                f"model folder {folder} is half-written: {path.name} is missing or shorter than its header says"
            )


def _no_safetensors(folder: Path) -> str:
    pickles = sorted(
        path.name for pattern in _PICKLES for path in folder.glob(pattern) if path.name != "training_args.bin"
    )
    if not pickles:
        return f"model folder {folder} has no weights; safetensors are needed"
    convert = f"AutoModelForCausalLM.from_pretrained('{folder}', use_safetensors=False).save_pretrained('{folder}')"
    return (
        f"model folder {folder} has only {pickles[0]}, which could run code when read; safetensors are needed: "
        f'if you trust it, convert it with python -c "from transformers import AutoModelForCausalLM; {convert}"'
    )


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says: 8 bytes of header length, header, data."""
    if not path.is_file() or path.stat().st_size < 8:
        return False
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > path.stat().st_size:
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    return path.stat().st_size >= 8 + length + int(end)


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """A model folder's ``config.json``. Raises InputError where it is missing or no JSON object."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no model: config.json is missing")
    return read_object(path)


def check_compatible(
    base: Mapping[str, Any],
    variant: Mapping[str, Any],
    *,
    base_name: str = "base",
    variant_name: str = "variant",
) -> None:
    """Raise InputError unless two ``config.json`` agree in layers, query heads and vocabulary size."""
    for what, spellings in _SHAPE.items():
        expected, found = _size(base, spellings), _size(variant, spellings)
        if expected != found:
            raise InputError(
                f"{variant_name} has {found} {what} and {base_name} has {expected}; "
                "only models of one shape are compared"
            )


def _size(config: Mapping[str, Any], spellings: tuple[str, ...]) -> int | None:
    text = config.get("text_config") or config  # vision-language models keep the language model one level down
    return next((int(text[name]) for name in spellings if name in text), None)


def check_same_vocabulary(base: Path, variant: Path, *, variant_name: str = "variant") -> None:
    """Raise InputError where two folders' ``tokenizer.json`` give a token different ids.

    Added tokens are free to differ: R1-style models rename their base's chat markers. A folder without the file
    passes.
    """
    paths = [folder / "tokenizer.json" for folder in (base, variant)]
    if not all(path.is_file() for path in paths) or paths[0].read_bytes() == paths[1].read_bytes():
        return
    expected, found = (_token_ids(path) for path in paths)
    check_token_ids(expected, found, variant_name=variant_name)


def check_token_ids(
    base: Mapping[str, int], variant: Mapping[str, int], *, variant_name: str = "variant", base_name: str = "base"
) -> None:
    """Raise InputError where two vocabularies give a token different ids; it names the one of lowest id."""
    differing = [token for token in {**variant, **base} if variant.get(token) != base.get(token)]
    if differing:
        # Of the lowest id, because tokenizers list their vocabulary in no fixed order.
        token = min(differing, key=lambda each: base.get(each, variant.get(each, 0)))
        found, expected = (str(ids.get(token, "absent")) for ids in (variant, base))
        raise InputError(
            f"{variant_name} has another vocabulary than {base_name}: token {token!r} is {found} in it and {expected} "
            f"in {base_name}; only models of one vocabulary are compared"
        )


def _token_ids(path: Path) -> dict[str, int]:
    vocabulary = read_object(path).get("model", {}).get("vocab", {})
    if isinstance(vocabulary, dict):
        return vocabulary
    return {token: index for index, (token, _score) in enumerate(vocabulary)}  # Unigram lists [token, score]
