"""A model's folder on disk: whole safetensors, one shape, one vocabulary; for an adapter, a base that fits."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headscope.contents import file_identity, model_files
from headscope.errors import InputError
from headscope.model_files import hub
from headscope.model_files.config_sizes import (
    HEADS,
    LAYERS,
    VOCABULARY,
    architecture,
    attention_sizes,
    check_sizes,
    config_size,
    layer_counts,
)
from headscope.model_files.named_models import named_model
from headscope.model_files.unsupported_formats import unsupported_format
from headscope.model_files.vocabularies import check_token_rows
from headscope.model_files.weight_files import (
    ModelConfig,
    StoredTensor,
    check_full_precision,
    check_tensor_places,
    embedding_rows,
    has_all_weights,
    has_weights,
    is_pointer,
    layer_of,
    read_header,
    read_tensors,
)
from headscope.storage import read_object

_ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What two models must share for their heads to be compared: the name people use, then the keys configs use.
_SHAPE = {"layers": LAYERS, "heads": HEADS}
_LORA_BIAS = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_B(?:\.\w+)?\.bias")
_FACTOR = re.compile(r"\.lora_(embedding_)?[AB](\.\w+)*$")
_LORA = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.\w+)?\.weight")


def check_weights(folder: Path) -> None:
    """Raise InputError unless ``folder`` holds a model that loads as it was trained. Reads headers and JSON only.

    A whole model has a config, whole safetensors of full precision in which every tensor has its place, and a
    tokenizer no larger than its embedding. A LoRA adapter has a base that can be found and fits it.
    """
    if adapter_base(folder) is not None:
        _check_adapter(folder)
        return
    advice = None if has_weights(folder) else unsupported_format(folder)
    if advice is not None:
        raise InputError(advice)
    config = read_model_config(folder)
    if (folder / _ADAPTER_CONFIG).is_file():
        raise InputError(
            f"model folder {folder} holds a whole model and an adapter; remove {_ADAPTER_CONFIG} if the adapter is "
            "merged, or the model's weights if it is not"
        )
    check_full_precision(folder, config)
    tensors = read_tensors(folder)
    check_full_precision(folder, config, tensors)
    check_tensor_places(folder, tensors, *layer_counts(config))
    _check_vocabulary(folder, config, tensors)


def check_cached(model: str, revision: str | None = None) -> None:
    """Raise InputError if what is on this machine of a hub model would not load as it was trained.

    Weights that the hub still has to send are judged once they are here.
    """
    snapshot = hub.cached_snapshot(model, revision)
    if snapshot is None:
        return
    if (snapshot / "config.json").is_file():
        check_full_precision(model, read_model_config(snapshot))
    if not _is_fetched(snapshot):
        if hub.is_reachable():
            return
        if unsupported_format(snapshot) is None:
            raise InputError(
                f"the weights of model {model} are not all on this machine, and the hub cannot be reached; fetch them "
                f"with hf download {model}"
            )
    try:
        check_weights(snapshot)
    except InputError as error:
        raise InputError(f"hub model {model} cannot be used: {error}") from None


def _is_fetched(snapshot: Path) -> bool:
    """Tell whether all weights of a hub model are on this machine."""
    return (snapshot / ADAPTER_WEIGHTS).is_file() or has_all_weights(snapshot)


def _check_vocabulary(folder: Path, config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> None:
    """Raise InputError unless config and embedding have one size, and the tokenizer no more: embeddings are padded."""
    stated, rows = config_size(config, VOCABULARY), embedding_rows(tensors)
    if stated is not None and rows is not None and stated != rows:
        raise InputError(
            f"model folder {folder} has {rows} token embeddings and its config.json says vocab_size {stated}; "
            "both must be the same"
        )
    if is_pointer(folder / "tokenizer.json"):
        raise InputError(f"tokenizer.json of {folder} is a git-lfs pointer; run git lfs pull there")
    size = rows if rows is not None else stated
    if size is not None:
        check_token_rows(folder, size)


def model_identity(folder: str | Path) -> tuple[tuple[int, ...], ...]:
    """Return a key that differs once a file of a model, or of an adapter's base, is rewritten; () for a hub id."""
    folder = Path(folder)
    if not folder.is_dir():
        return ()
    base = adapter_base(folder)
    own = tuple(file_identity(path) for path in model_files(folder) if path.is_file())
    return own if base is None else own + model_identity(base)


def adapter_base(folder: str | Path) -> str | None:
    """Return the folder or hub id of the model an adapter belongs to; None for a folder with weights of its own."""
    folder = Path(folder)
    path = folder / _ADAPTER_CONFIG
    if not path.is_file() or has_weights(folder):
        return None
    config = read_object(path)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(f"{path} names no base model; set base_model_name_or_path to its folder or hub id")
    return base if Path(base).expanduser().is_dir() else named_model(base) or base


def is_untrained_adapter(folder: Path) -> bool:
    """Tell whether an adapter leaves its base as it is: of each pair of factors, one is zero, as PEFT begins."""
    from safetensors.torch import load_file  # NumPy has no bfloat16

    path = folder / ADAPTER_WEIGHTS
    if adapter_base(folder) is None or not path.is_file():
        return False
    pairs: dict[str, list[bool]] = {}
    for name, factor in load_file(path).items():
        match = _FACTOR.search(name)
        if match is None:  # a magnitude, a bias, or a whole layer that was trained next to the factors
            return False
        pairs.setdefault(name[: match.start()], []).append(not factor.any().item())
    return all(any(zeros) for zeros in pairs.values())


def _check_adapter(folder: Path) -> None:
    """Raise InputError unless the folder holds a whole LoRA adapter of a base that is there and has its shapes."""
    kind, base = read_object(folder / _ADAPTER_CONFIG).get("peft_type"), adapter_base(folder)
    assert base is not None
    if kind != "LORA":
        raise InputError(
            f"adapter {folder} is of type {kind}, and only LoRA is read; call merge_and_unload() of peft and save the "
            "whole model, if its type can be merged"
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise InputError(f"adapter {folder} has no {ADAPTER_WEIGHTS}; save it again with safe_serialization=True")
    tensors = read_header(folder / ADAPTER_WEIGHTS)
    model = whole_model_folder(folder)
    if model is None:
        if not hub.is_reachable():
            raise InputError(
                f"the base model {base} of adapter {folder} is neither a folder nor on this machine, and the hub "
                "cannot be reached; correct base_model_name_or_path in adapter_config.json"
            )
        return
    if Path(base).expanduser().is_dir():
        check_weights(model)
    else:
        check_cached(base)
    _check_adapter_fits(folder, tensors, model)


def _check_adapter_fits(folder: Path, tensors: Mapping[str, StoredTensor], model: Path) -> None:
    """Raise InputError if a LoRA factor is of a layer, or of a width, that its base does not have.

    Widths are compared for names in the base's file: some classes rename weights when they load, which then tells.
    """
    layers, _ = layer_counts(read_model_config(model))
    weights = read_tensors(model) if has_weights(model) else {}
    for name, factor in tensors.items():
        match = _LORA.fullmatch(name)
        weight = weights.get(f"{match[1]}.weight") if match is not None else None
        biased = _LORA_BIAS.fullmatch(name)
        if biased is not None and f"{biased[1]}.weight" in weights and f"{biased[1]}.bias" not in weights:
            raise InputError(
                f"adapter {folder} has a bias (lora_bias=True) on {biased[1]}, which has none, so that merged weights "
                "cannot hold it; train it with lora_bias=False, or on layers with a bias"
            )
        fault = None
        if layers is not None and layer_of(name) >= layers:
            fault = f"{name} is there and the base has {layers} layers"
        elif match is not None and weight is not None:
            width = factor.shape[1] if match[2] == "A" else factor.shape[0]
            if width not in weight.shape:  # not its last or first: GPT-2 stores its weights transposed
                fault = f"{name} is {list(factor.shape)} and the weight is {list(weight.shape)}"
        if fault is not None:
            raise InputError(
                f"adapter {folder} does not fit its base {model}: {fault}; correct base_model_name_or_path in "
                f"{_ADAPTER_CONFIG}"
            )


def whole_model_folder(folder: Path) -> Path | None:
    """Return the folder itself, or an adapter's base folder; None if that is on the hub and not on this machine."""
    base = adapter_base(folder)
    if base is None:
        return folder
    local = Path(base).expanduser()
    return local if local.is_dir() else hub.cached_snapshot(base)


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """Return a model folder's ``config.json``.

    Raises InputError if it is missing, no JSON object, or its sizes are impossible.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} holds no model: config.json is missing{_models_inside(path.parent)}")
    config = read_object(path)
    check_sizes(folder, config)
    return config


def _models_inside(folder: Path) -> str:
    """Return how a message names the models in the folders of a folder, such as a run's checkpoints; "" for none."""
    models = sorted(path.parent.name for name in ("config.json", _ADAPTER_CONFIG) for path in folder.glob(f"*/{name}"))
    if not models:
        return ""
    return f"; it has folders that do, such as {models[0]}: give one of them, or a variant's checkpoints: {folder}"


def check_compatible(base: ModelConfig, variant: ModelConfig, *, variant_name: str = "variant") -> None:
    """Raise InputError unless two configs agree in architecture, layers and query heads."""
    base_type, variant_type = architecture(base), architecture(variant)
    if None not in (base_type, variant_type) and base_type != variant_type:
        raise InputError(
            f"{variant_name} is a {variant_type} and base a {base_type}; only models of one architecture are compared"
        )
    for name, keys in _SHAPE.items():
        base_size, variant_size = config_size(base, keys), config_size(variant, keys)
        if base_size != variant_size:
            raise InputError(
                f"{variant_name} has {variant_size} {name} and base has {base_size}; "
                "only models of one shape are compared"
            )


def check_same_attention(config: ModelConfig, donor: ModelConfig, *, model_name: str, donor_name: str) -> None:
    """Raise InputError unless heads of a model can take the weights of a donor's: one architecture, one shape."""
    donor_sizes = attention_sizes(donor)
    for name, size in attention_sizes(config).items():
        if size != donor_sizes[name]:
            raise InputError(
                f"{model_name} and {donor_name} differ in {name}, {size} and {donor_sizes[name]}; heads take weights "
                "(revert, graft) from a model of the same architecture and shape"
            )


def vocabulary_entries(folder: Path) -> int | None:
    """Return the vocabulary entries a model folder's config names; None if it names none."""
    return config_size(read_model_config(folder), VOCABULARY)
