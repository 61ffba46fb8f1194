"""The safetensors of a model folder, judged by their headers: one set, whole, and a place for every tensor."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headscope.errors import InputError, count_noun
from headscope.storage import check_keys, read_object

ModelConfig = Mapping[str, Any]
"""A model's ``config.json``."""
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_CHUNK = 2**24
"""Bytes compared at once."""
_FLOATS = ("F16", "BF16", "F32", "F64")
# Buffers that are stored as integers in models of full precision: causal masks (GPT-2, GPT-NeoX) and positions.
_INTEGER_BUFFERS = re.compile(r"(bias|_ids)$")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings)(\.base_layer)?\.weight$")
_ADAPTER = re.compile(r"(^|\.)(lora_[A-Za-z_]+|base_layer)(\.|$)")
_LAYER = re.compile(r"(^|\.)(?:layers|h)\.(\d+)\.")
# What a text-only class leaves out on purpose: towers for images and sound, heads that draft tokens or value states,
# buffers that are computed when the model loads.
_LEFT_OUT = re.compile(
    r"(^|\.)(vision_\w+|visual|image_\w+|img_\w+|audio_\w+|speech_\w+|embed_vision|embed_audio|multi_modal_\w+|"
    r"mm_\w+|talker|token2wav|mtp\w*|v_head)\.|(^|\.)(attn|attention)\.(masked_)?bias$|inv_freq$|position_ids$"
)


def has_weights(folder: Path) -> bool:
    """Tell whether a whole model's safetensors are there, by their usual names."""
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def has_all_weights(folder: Path) -> bool:
    """Tell whether every file of a whole model's safetensors is there."""
    if not (folder / INDEX).is_file():
        return (folder / SINGLE).is_file()
    return all((folder / shard).is_file() for shard in read_object(folder / INDEX).get("weight_map", {}).values())


class StoredTensor(NamedTuple):
    """A tensor as a header describes it."""

    dtype: str
    shape: tuple[int, ...]


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return every tensor of the folder's whole safetensors by name. Reads headers only.

    Raises InputError if there are none, they are pointers of git-lfs, are cut short, or two sets of them are there.
    """
    if not has_weights(folder):
        raise InputError(f"model folder {folder} has no weights; safetensors are needed")
    if not (folder / INDEX).is_file():
        return read_header(folder / SINGLE)
    shard_of = _read_index(folder / INDEX)
    if (folder / SINGLE).is_file() and SINGLE not in shard_of.values():
        raise InputError(
            f"model folder {folder} holds {SINGLE} and {INDEX}, which names other files; remove what is outdated"
        )
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(shard_of.values())):
        header = read_header(folder / shard)
        absent = [name for name, place in shard_of.items() if place == shard and name not in header]
        if absent:
            raise InputError(f"model folder {folder} is half-written: {shard} lacks {absent[0]}, which its index names")
        tensors |= header
    return tensors


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of one safetensors file by name. Raises InputError unless it is whole."""
    if is_pointer(path):
        raise InputError(
            f"model folder {path.parent} was cloned without its weights: {path.name} is a git-lfs pointer; "
            "run git lfs pull there"
        )
    header = _whole_header(path)
    if header is None:
        raise InputError(
            f"model folder {path.parent} is half-written: {path.name} is missing or shorter than its header says"
        )
    return {name: StoredTensor(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def have_same_weights(base: Path, variant: Path) -> bool:
    """Tell whether a variant holds the base's tensors, as they are or cast to its own dtype, however spread over files.

    Reads up to the first difference.
    """
    tensors, variant_tensors = read_tensors(base), read_tensors(variant)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != {name: tensor.shape for name, tensor in variant_tensors.items()}:
        return False
    spans, variant_spans = _tensor_spans(base), _tensor_spans(variant)
    return all(
        _hold_same_bytes(spans[name], variant_spans[name])
        if tensor.dtype == variant_tensors[name].dtype
        else _is_cast(name, spans[name].file, variant_spans[name].file)
        for name, tensor in tensors.items()
    )


def _is_cast(name: str, base: Path, variant: Path) -> bool:
    """Tell whether a variant's tensor is the base's in another dtype."""
    from safetensors import safe_open

    with safe_open(base, "pt") as base_file, safe_open(variant, "pt") as variant_file:
        tensor = variant_file.get_tensor(name)
        return bool((base_file.get_tensor(name).to(tensor.dtype) == tensor).all())


class _Span(NamedTuple):
    """Place of a tensor's bytes."""

    file: Path
    start: int
    length: int


def _tensor_spans(folder: Path) -> dict[str, _Span]:
    """Return where every tensor of a whole model lies."""
    names = set(_read_index(folder / INDEX).values()) if (folder / INDEX).is_file() else {SINGLE}
    spans = {}
    for path in sorted(folder / name for name in names):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            spans[name] = _Span(path, 8 + length + start, end - start)
    return spans


def _hold_same_bytes(first: _Span, second: _Span) -> bool:
    with first.file.open("rb") as one_file, second.file.open("rb") as other_file:
        one_file.seek(first.start)
        other_file.seek(second.start)
        for offset in range(0, first.length, _CHUNK):
            size = min(_CHUNK, first.length - offset)
            if one_file.read(size) != other_file.read(size):
                return False
    return True


def is_pointer(path: Path) -> bool:
    """Tell whether git-lfs left a pointer where a file's content should be."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(23) == b"version https://git-lfs"


def _whole_header(path: Path) -> dict[str, Any] | None:
    """Return the header of a file that is as long as it says: 8 bytes of header length, header, data."""
    if not path.is_file() or path.stat().st_size < 8:
        return None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > path.stat().st_size:
            return None
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return None
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    return header if path.stat().st_size >= 8 + length + int(end) else None


def _read_index(path: Path) -> dict[str, str]:
    """Return the file of every tensor. Raises InputError if files are missing."""
    index = read_object(path)
    check_keys(index, ["weight_map"], path)
    shard_of: dict[str, str] = index["weight_map"]
    shards = set(shard_of.values())
    missing = sorted(shard for shard in shards if not (path.parent / shard).is_file())
    if missing:
        others = f"and {len(missing) - 1} more are missing" if len(missing) > 1 else "is missing"
        raise InputError(
            f"model folder {path.parent} is half-written: of the {count_noun(len(shards), 'file')} its index names "
            f"{missing[0]} {others}; copy or save the model again"
        )
    return shard_of


def check_full_precision(name: str | Path, config: ModelConfig, tensors: Mapping[str, StoredTensor] = {}) -> None:
    """Raise InputError if a model's weights are quantised, by its config or by the types of its ``tensors``."""
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "an unnamed method")
    else:
        method = _first_packed_tensor(tensors)
        if method is None:
            return
    raise InputError(
        f"model {name} is quantised ({method}); heads are read from weights of full precision: "
        "take the original, or load it, call model.dequantize() and save it"
    )


def _first_packed_tensor(tensors: Mapping[str, StoredTensor]) -> str | None:
    """Return the first tensor whose type is not that of a weight of full precision."""
    for name, stored in tensors.items():
        # Scales of quantised weights are vectors of any type under other names; a norm's are called weight.
        is_weight = len(stored.shape) > 1 or name.endswith(".weight")
        if stored.dtype not in _FLOATS and is_weight and not _INTEGER_BUFFERS.search(name):
            return f"{name} of type {stored.dtype}"
    return None


def embedding_rows(tensors: Mapping[str, StoredTensor]) -> int | None:
    """Return the number of token embeddings; None if no tensor has a known name."""
    embeddings = (name for name in tensors if _EMBEDDING.search(name) and not _LEFT_OUT.search(name))
    return next((tensors[name].shape[0] for name in embeddings), None)


def unplaced_tensors(names: Iterable[str], layers: int | None, drafting: int = 0) -> list[str]:
    """Return those of a model class's unexpected tensors that it should have read, sorted.

    drafting: layers after the last that predict further tokens (DeepSeek-V3, GLM-4.5), which no class reads.
    """
    unread = range(layers, layers + drafting) if layers is not None else ()
    return sorted(name for name in names if not _LEFT_OUT.search(name) and layer_of(name) not in unread)


def check_tensor_places(folder: Path, names: Iterable[str], layers: int | None, drafting: int = 0) -> None:
    """Raise InputError if tensors are those of an adapter, or of layers the config does not have."""
    names = list(names)
    unmerged = [name for name in names if _ADAPTER.search(name)]
    if unmerged:
        raise InputError(
            f"model folder {folder} holds {count_noun(len(unmerged), 'weight')} of an adapter that is not merged, the "
            f"first is {min(unmerged)}; call merge_and_unload() of peft and save the model again"
        )
    beyond = [name for name in names if layers is not None and layer_of(name) >= layers]
    unread = unplaced_tensors(beyond, layers, drafting)
    if unread:
        raise InputError(
            f"model folder {folder} holds {count_noun(len(unread), 'weight')} without a place in its {layers} "
            f"layers, the first is {unread[0]}; correct num_hidden_layers in config.json or save the model again"
        )


def layer_of(name: str) -> int:
    """Return the index of the layer a tensor is in; -1 for none."""
    match = _LAYER.search(name)
    return -1 if match is None else int(match[2])
