"""Formats that a folder may hold instead of safetensors, and the command that makes a model of each."""

import re
from pathlib import Path

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Pickles that a training saves next to the weights.
_OF_A_TRAINING = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|random_states|_states\.pt$")


def unsupported_format(folder: Path) -> str | None:
    """Return a sentence on a folder without safetensors: what it holds and what to do; None if that is unknown."""
    # Sharded states first: they are pickles too, with a command of their own.
    for describe in (_deepspeed_state, _fsdp_state, _gguf, _pickles, _shards_without_index):
        sentence = describe(folder)
        if sentence is not None:
            return sentence
    if (folder / "trainer_state.json").is_file():
        holds, copied = "no model", "the weights and config.json"
        if (folder / "config.json").is_file():
            holds, copied = "config.json, but no weights", "the weights"
        return (
            f"checkpoint {folder} holds trainer_state.json and {holds}; copy {copied} there, or take the folder out of "
            "the list"
        )
    return None


def _deepspeed_state(folder: Path) -> str | None:
    states = sorted([*folder.glob("*_states.pt"), *folder.glob("global_step*/*_states.pt")])
    if not states:
        return None
    run = states[0].parent.parent  # zero_to_fp32.py is given the folder that holds global_step…
    return (
        f"checkpoint {folder} holds DeepSpeed's sharded state and no weights; join it with "
        f"python {run / 'zero_to_fp32.py'} {run} {run} --safe_serialization"
    )


def _fsdp_state(folder: Path) -> str | None:
    shards = sorted([*folder.glob("*.distcp"), *folder.glob("pytorch_model_fsdp*/*.distcp")])
    if not shards:
        return None
    return (
        f"checkpoint {folder} holds FSDP's sharded state and no weights; join it with "
        f"accelerate merge-weights {shards[0].parent} {folder}"
    )


def _gguf(folder: Path) -> str | None:
    names = sorted(path.name for path in folder.glob("*.gguf"))
    if not names:
        return None
    return (
        f"model folder {folder} has only {names[0]}, which is quantised for inference; take the original, or "
        f"{_conversion(folder, f'gguf_file={names[0]!r}')}"
    )


def _pickles(folder: Path) -> str | None:
    paths = (path for pattern in _PICKLES for path in folder.glob(pattern))
    names = sorted(path.name for path in paths if not _OF_A_TRAINING.search(path.name))
    if not names:
        return None
    return (
        f"model folder {folder} has only {names[0]}, which could run code when read; safetensors are needed: "
        f"if you trust it, {_conversion(folder, 'use_safetensors=False')}"
    )


def _shards_without_index(folder: Path) -> str | None:
    names = sorted(path.name for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))
    if not names:
        return None
    return (
        f"model folder {folder} has {names[0]} and neither model.safetensors nor an index of its files "
        "(model.safetensors.index.json); save the model again"
    )


def _conversion(folder: Path, option: str) -> str:
    call = f"AutoModelForCausalLM.from_pretrained('{folder}', {option}).save_pretrained('{folder}')"
    return f'convert it with python -c "from transformers import AutoModelForCausalLM; {call}"'
