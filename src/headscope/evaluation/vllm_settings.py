"""How vLLM is started for a checkpoint: which model, with which adapter, over how many devices.

Names and limits are those of vLLM 0.31.0; ``benchmarks/vllm_signatures.py`` compares them with its source.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError
from headscope.evaluation.chat import load_tokenizer
from headscope.model_files.folder import adapter_base
from headscope.storage import read_object

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What ``max_lora_rank`` may be."""
WEIGHT_SHARE = 0.6
"""Of a device's memory that weights may take; vLLM takes 0.92 of it, and the rest of that holds keys and values."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an engine serves. path: a folder or hub id; tokenizer: of another folder or id, None for its own."""

    path: str
    dtype: str = "auto"
    revision: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False

    def load_tokenizer(self) -> "PreTrainedTokenizerBase":
        """Load the tokenizer without the weights. Raises InputError if there is none."""
        revision = self.revision if self.tokenizer is None else None
        return load_tokenizer(self.tokenizer or self.path, revision, self.trust_remote_code)


def start_settings(checkpoint: Checkpoint, seed: int, devices: int) -> dict[str, Any]:
    """Return what ``vllm_worker`` starts an engine with: the arguments of ``vllm.LLM``, and ``adapter``.

    An adapter is served on its base, unmerged. devices: that the engine has, over which its weights are split.
    Raises InputError for an adapter that vLLM cannot serve.
    """
    base = adapter_base(checkpoint.path)
    settings = {
        "model": base or checkpoint.path,
        "dtype": checkpoint.dtype,
        "revision": checkpoint.revision if base is None else None,
        "tokenizer": checkpoint.tokenizer,
        "trust_remote_code": checkpoint.trust_remote_code,
        "seed": seed,
        "tensor_parallel_size": devices,
        "enable_prefix_caching": True,
        "adapter": None,
    }
    if base is not None:
        settings |= {"adapter": checkpoint.path, "enable_lora": True, "max_lora_rank": _lora_rank(checkpoint.path)}
    return settings


def _lora_rank(adapter: str) -> int:
    """Return the smallest ``max_lora_rank`` that an adapter fits."""
    path = Path(adapter) / "adapter_config.json"
    config = read_object(path)
    unserved = [
        f"{name} {json.dumps(config[name])}"
        for name in ("use_dora", "modules_to_save", "bias")
        if config.get(name) not in (None, False, [], "none")
    ]
    if unserved:
        raise InputError(
            f"{path} has {', '.join(unserved)}, which vLLM cannot serve; sample with engine 'transformers', or save "
            "the model that merge_and_unload() of peft gives"
        )
    rank = max([config.get("r", 8), *(config.get("rank_pattern") or {}).values()])
    allowed = [limit for limit in RANKS if limit >= rank]
    if not allowed:
        raise InputError(f"{path} has rank {rank}, and vLLM serves adapters of rank {RANKS[-1]} or less")
    return allowed[0]


def devices_per_engine(weight_bytes: int, heads: int, devices: int, device_bytes: int) -> int:
    """Return over how many devices a model is split: the fewest that hold its weights, so that as many engines as
    possible answer side by side.

    heads: of the model, a multiple of what is returned. All that divide the heads are too few: the most of those.
    """
    divisors = [count for count in range(1, devices + 1) if heads % count == 0]
    enough = [count for count in divisors if weight_bytes <= WEIGHT_SHARE * device_bytes * count]
    return enough[0] if enough else divisors[-1]


def folder_weight_bytes(folder: str | Path) -> int:
    """Return the size of the weight files in a folder; 0 if there is none, as for the id of a hub."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
