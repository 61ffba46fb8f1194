"""Load a model from a folder or the hub: safetensors only, in evaluation mode, with its head access checked."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from headscope.errors import InputError, count_noun
from headscope.model_files import hub
from headscope.model_files.config_sizes import layer_counts
from headscope.model_files.folder import ADAPTER_WEIGHTS, adapter_base, check_cached, check_weights
from headscope.model_files.named_models import model_title, named_model
from headscope.model_files.weight_files import check_full_precision, embedding_rows, read_header, unplaced_tensors
from headscope.models.adapters import has_adapter, merge_adapters, untie_differing_embeddings
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
    device_map: str | dict[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Subject:
    """Load a causal language model in evaluation mode, with its tokenizer if it has one.

    Args:
        path_or_id: a folder, a hub id, or a name that ``headscope ls models`` lists, such as ``lab-s``. The folder may
            hold an adapter, which is merged into its base.
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
        device: device of the model, such as ``cuda:0``.
        device_map: passed on to Hugging Face, for models larger than one device.
        revision: commit, branch or tag of a hub id.
        trust_remote_code: run code that comes with the model.

    Raises:
        InputError: if the folder or model is missing, has no safetensors, holds NaN, has an unknown architecture, or
            fails the check of its head access.
    """
    if dtype not in _DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown; allowed: {', '.join(_DTYPES)}")
    name = _locate(named_model(str(path_or_id)) or str(path_or_id), revision)
    folder = Path(name)
    local_only = not folder.is_dir() and not hub.is_reachable()
    options: dict[str, object] = {
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "local_files_only": local_only,
    }
    weight_options: dict[str, object] = {**options, "dtype": _DTYPES[dtype], "device_map": device_map}
    if dtype == "float64":
        weight_options["experts_implementation"] = "eager"  # grouped products know no float64
    files, base = _find_files(name, revision)
    if files is None or base is None:
        model = _load_weights(name, weight_options)
    else:
        model = _load_adapter(name, files, base, weight_options)
    if not folder.is_dir():  # some of its files may have been fetched just now
        check_cached(name, revision)
        files, base = _find_files(name, revision)
    if device is not None:
        model = model.to(device)
    _check_finite(name, model)
    head_access(model)
    tokenizer = _load_tokenizer(name, options)
    if tokenizer is None and base is not None:
        tokenizer = _load_tokenizer(base, options)
    # A snapshot is called by its commit; the config of an adapter's model would name its base's.
    commit = None
    if not folder.is_dir():
        commit = revision if files is None else files.name
    return Subject(model, tokenizer, model_title(name), commit)


def _locate(name: str, revision: str | None) -> str:
    """Return the folder or the hub id of ``name``. Raises InputError if it is missing or has no safetensors."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_weights(folder)
        return str(folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise InputError(f"model {name} is not there: no such folder")
    hub.check_model_exists(name, revision)
    check_cached(name, revision)
    return name


def _find_files(name: str, revision: str | None) -> tuple[Path | None, str | None]:
    """Return the folder on this machine that holds a model's files, and its base if it is an adapter; None for none."""
    files = Path(name) if Path(name).is_dir() else hub.cached_snapshot(name, revision)
    return files, None if files is None else adapter_base(files)


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Turn the progress bars of ``transformers`` off inside the block."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def check_loads(path_or_id: str, *, trust_remote_code: bool = False) -> None:
    """Raise InputError if stored weights do not fit the model's class; only names and shapes are read.

    path_or_id: a folder or hub id whose files are on this machine.
    """
    options = {"revision": None, "trust_remote_code": trust_remote_code, "local_files_only": True}
    with suppress(NotImplementedError):  # code that computes when it is built cannot run without numbers
        _read_weights(path_or_id, {**options, "device_map": "meta"})


def _load_weights(name: str, options: dict[str, object]) -> PreTrainedModel:
    model = _read_weights(name, options)
    if any(has_adapter(module) for module in model.modules()):  # the hub id of an adapter
        merge_adapters(model)
    untie_differing_embeddings(model)
    return model.eval()


def _read_weights(name: str, options: dict[str, object]) -> PreTrainedModel:
    """Return the model that Hugging Face loads. Raises InputError unless every weight has its place."""
    _check_not_quantised(name, options)
    try:
        with without_progress_bars(), _without_load_report():
            model, report = AutoModelForCausalLM.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    except (OSError, ValueError, ImportError, SafetensorError, StrictDataclassError) as error:
        cause = error.__cause__ if isinstance(error, StrictDataclassError) else error
        reason = str(cause).strip().splitlines()[0]
        raise InputError(f"model {name} cannot be loaded: {reason}") from error
    if missing := sorted(report["missing_keys"]):  # Hugging Face would go on with random numbers there
        raise InputError(f"model {name} lacks {len(missing)} of its weights, the first is {missing[0]}; all are needed")
    _check_places(name, model, report)
    return cast(PreTrainedModel, model)


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Hide the table in which ``transformers`` says that superfluous weights can be ignored."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _check_not_quantised(name: str, options: dict[str, object]) -> None:
    """Raise InputError for quantised weights before they are fetched; loading reports other faults of the config."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            name, revision=options["revision"], local_files_only=options["local_files_only"]
        )
    except OSError:
        return
    check_full_precision(name, config)


def _check_places(name: str, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Raise InputError if weights are missing or superfluous, which Hugging Face would accept."""
    kind, config = type(model).__name__, model.config.to_dict()
    if mismatched := sorted(report["mismatched_keys"]):
        weight, stored, needed = mismatched[0]
        raise InputError(
            f"model {name} has {count_noun(len(mismatched), 'weight')} of another shape than its config says, the "
            f"first is {weight} with {list(stored)} instead of {list(needed)}; correct config.json or "
            "save the model again"
        )
    if unread := unplaced_tensors(report["unexpected_keys"], *layer_counts(config)):
        raise InputError(
            f"model {name} has {count_noun(len(unread), 'weight')} without a place in {kind}, the first is "
            f"{unread[0]}; load it as it was trained and save it with save_pretrained"
        )


def _load_adapter(name: str, folder: Path, base: str, options: dict[str, object]) -> PreTrainedModel:
    """Load an adapter's base and merge the adapter in ``folder`` into it, through PEFT."""
    from peft import PeftModel

    base_path = Path(base).expanduser()
    if base_path.is_dir():
        check_weights(base_path)
    else:
        check_cached(base)
    local_only = not base_path.is_dir() and not hub.is_reachable()
    model = _load_weights(base, {**options, "revision": None, "local_files_only": local_only})
    rows = embedding_rows(read_header(folder / ADAPTER_WEIGHTS))
    if rows is not None and rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows)  # tokens were added before the adapter was trained
    try:
        with warnings.catch_warnings(action="ignore"):  # PEFT's, that merging tied embeddings is difficult
            adapted = PeftModel.from_pretrained(model, str(folder), local_files_only=True).eval()
        merged: PreTrainedModel = adapted.get_base_model()
        merge_adapters(merged)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"adapter {name} cannot be put on its base {base}: {reason}") from error
    merged.config.name_or_path = name
    return merged.eval()


def _load_tokenizer(name: str, options: dict[str, object]) -> PreTrainedTokenizerBase | None:
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in _TOKENIZER_FILES):
        return None
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except OSError:
        return None
    except Exception as error:  # the tokenizers library raises bare Exception for a broken file
        raise InputError(f"the tokenizer of {name} cannot be read: {str(error).splitlines()[0]}") from error


def _check_finite(name: str, model: PreTrainedModel) -> None:
    for parameter_name, parameter in model.named_parameters():
        values = parameter.detach()
        # NaN and infinity survive a sum, so that only a tensor with a suspicious sum is looked at number by number.
        if not torch.isfinite(values.sum(dtype=torch.float32)) and not torch.isfinite(values).all():
            count = count_noun(int((~torch.isfinite(values)).sum()), "NaN or infinite weight")
            raise InputError(f"model {name} has {count} in {parameter_name}; all must be finite")
