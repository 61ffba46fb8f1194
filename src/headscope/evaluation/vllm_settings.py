"""Settings that vLLM is started with for a checkpoint: which model, with which adapter, over how many devices.

Names and limits are those of vLLM 0.31.0; ``benchmarks/vllm_signatures.py`` compares them with its source.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError
from headscope.evaluation.chat import load_tokenizer
from headscope.model_files.config_sizes import (
    HEADS,
    VOCABULARY,
    attention_sizes,
    config_size,
    mlp_widths,
    weight_count,
)
from headscope.model_files.folder import adapter_base
from headscope.model_files.weight_files import ModelConfig, has_all_weights, read_tensors
from headscope.storage import read_object

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What ``max_lora_rank`` may be."""
WEIGHT_SHARE = 0.6
"""Of a device's memory that weights may take if it can be chosen; the rest of what vLLM takes holds keys and values."""
DEVICE_SHARE = 0.92
"""Of a device's memory that vLLM takes."""
PADDED_ROWS = 64
"""vLLM pads the vocabulary to a multiple of this."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is served. path: a folder or hub id; tokenizer: of another folder or id, None for its own."""

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


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Sizes that decide over how many devices a model is split; a size is 0 if its config does not state it.

    name: for messages. weight_bytes: of all weights in the dtype they are served in. dtype: as in ``Checkpoint``.
    heads, kv_heads: of a layer. mlp_width: the greatest common divisor of the widths of its MLPs. vocabulary: its rows.
    """

    name: str
    weight_bytes: int = 0
    dtype: str = "auto"
    heads: int = 0
    kv_heads: int = 0
    mlp_width: int = 0
    vocabulary: int = 0

    @classmethod
    def of(cls, name: str, dtype: str, config: ModelConfig, folder: Path | None) -> "ServedModel":
        """Return what a model's config and weight files say. folder: of the files; None if they are still on the hub,
        and their size is estimated from the config.
        """
        weights = weight_count(config)
        if folder is not None and has_all_weights(folder):
            weights = sum(math.prod(tensor.shape) for tensor in read_tensors(folder).values())
        heads = config_size(config, HEADS) or 0
        kv_heads = attention_sizes(config)["key/value heads"]
        return cls(
            name,
            # With dtype auto vLLM serves float32 weights in half of that.
            weights * (4 if dtype == "float32" else 2),
            dtype,
            heads,
            kv_heads if isinstance(kv_heads, int) else heads,
            math.gcd(*mlp_widths(config)),
            config_size(config, VOCABULARY) or 0,
        )

    def can_be_split(self, devices: int) -> bool:
        """Return whether vLLM splits the model over so many devices.

        Heads and MLPs are shared out evenly; fewer key/value heads than devices are repeated evenly; rows of the
        vocabulary are shared out evenly after they were padded.
        """
        padded = -(-self.vocabulary // PADDED_ROWS) * PADDED_ROWS
        is_even = all(size % devices == 0 for size in (self.heads, self.mlp_width, padded))
        return is_even and (self.kv_heads % devices == 0 or devices % self.kv_heads == 0)


def devices_per_engine(model: ServedModel, devices: int, device_bytes: int) -> int:
    """Return over how many devices a model is split: the fewest that hold its weights and room for keys and values, so
    that as many engines as possible answer side by side. If none do, it is as many as it can be split over.

    devices: that this process may use. device_bytes: memory of one. Raises InputError if they do not hold the weights.
    """
    counts = [count for count in range(1, devices + 1) if model.can_be_split(count)]
    enough = [count for count in counts if model.weight_bytes <= WEIGHT_SHARE * device_bytes * count]
    if enough:
        return enough[0]
    if model.weight_bytes > DEVICE_SHARE * device_bytes * counts[-1]:
        are = "1 device" if counts[-1] == 1 else f"{counts[-1]} devices"
        raise InputError(
            f"{model.name} takes {model.weight_bytes / 2**30:.1f} GiB in dtype {model.dtype}, and the {are} that vLLM "
            f"can split it over here hold {device_bytes / 2**30:.1f} GiB each; give it more devices (a worker of the "
            "executors processes and ray has one; executor local has all), or a dtype of 16 bits"
        )
    return counts[-1]
