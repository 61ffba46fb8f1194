"""Loading from a folder or the hub: safetensors only, evaluation mode, checked before it is handed out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from headscope import hub
from headscope.errors import InputError
from headscope.model_folder import check_weights
from headscope.models.architectures import head_access
from headscope.models.subject import Subject

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def load_model(
    path_or_id: str | Path,
    *,
    dtype: str = "float32",
    device: str | None = None,
    device_map: Any = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Subject:
    """Load a causal language model in evaluation mode, with its tokenizer where it has one.

    dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
    device: where to put it; ``device_map`` is passed on to Hugging Face for models larger than one device.
    Raises InputError where the folder or model is missing, has no safetensors, holds NaN, has an unknown
    architecture, or fails the check of its head access.
    """
    name = str(path_or_id)
    if dtype not in _DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown; allowed: {', '.join(_DTYPES)}")
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        name = str(folder)
        check_weights(folder)
    elif folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise InputError(f"model {name} is not there: no such folder")
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    options["local_files_only"] = not folder.is_dir() and not hub.reachable()
    numbers: dict[str, Any] = {"dtype": _DTYPES[dtype], "device_map": device_map}
    if dtype == "float64":
        numbers["experts_implementation"] = "eager"  # grouped products know no float64
    model = _load_weights(name, options | numbers)
    if device is not None:
        model = model.to(device)
    _check_finite(name, model)
    head_access(model)
    return Subject(model, _load_tokenizer(name, options), name, getattr(model.config, "_commit_hash", None) or revision)


@contextmanager
def without_bars() -> Iterator[None]:
    """The progress bars of ``transformers`` are off inside the block."""
    on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if on:
            logging.enable_progress_bar()


def _load_weights(name: str, options: dict[str, Any]) -> PreTrainedModel:
    try:
        with without_bars():
            model, report = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, StrictDataclassError) as error:
        cause = error.__cause__ if isinstance(error, StrictDataclassError) else error
        first = str(cause).strip().splitlines()[0]
        raise InputError(f"model {name} cannot be loaded: {first}") from error
    if missing := sorted(report["missing_keys"]):  # Hugging Face would go on with random numbers there
        raise InputError(f"model {name} lacks {len(missing)} of its weights, the first is {missing[0]}; all are needed")
    return model.eval()


def _load_tokenizer(name: str, options: dict[str, Any]) -> Any:
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _TOKENIZER_FILES):
        return None
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except OSError:
        return None
    except Exception as error:  # the tokenizers library raises bare Exception for a broken file
        raise InputError(f"the tokenizer of {name} cannot be read: {str(error).splitlines()[0]}") from error


def _check_finite(name: str, model: PreTrainedModel) -> None:
    """One sum per tensor: NaN and infinity survive it, and only a suspicious tensor is looked at again."""
    for parameter_name, parameter in model.named_parameters():
        values = parameter.detach()
        if not torch.isfinite(values.sum(dtype=torch.float32)) and not torch.isfinite(values).all():
            bad = int((~torch.isfinite(values)).sum())
            raise InputError(f"model {name} has {bad} NaN or infinite weights in {parameter_name}; all must be finite")
