"""Forward passes over endings on top of a prefix that is run once (method section 3, facts 1 and 5)."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from headscope.circuits.batches import Batch
from headscope.models import HeadAccess
from headscope.models.adapters import clear_merged_layers
from headscope.models.rotary import frequency_regimes, full_text_lengths, own_text_lengths
from headscope.models.wrappers import own_forward


class PrefixLayer(DynamicLayer):  # type: ignore[misc]  # transformers is Any to the type checker
    """Keys and values of the prefix, one row per pair; what a pass adds is used by that pass and not kept.

    Rows are repeated for the runs of a pair and heads for query-head copies as views: the only copy is the
    concatenation that attention needs anyway.
    """

    def __init__(
        self, keys: Float[Tensor, "pair kv prefix d_head"], values: Float[Tensor, "pair kv prefix d_head"]
    ) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of prefix and ending, [row, head, prefix + ending, d_head]."""
        return _joined(self.keys, key_states), _joined(self.values, value_states)


def _joined(
    prefix: Float[Tensor, "pair kv prefix d_head"], ending: Float[Tensor, "row head ending d_head"]
) -> Float[Tensor, "row head total d_head"]:
    pairs, kv, length, d_head = prefix.shape
    runs, copies = ending.shape[0] // pairs, ending.shape[1] // kv
    shown = prefix[:, None, :, None].expand(pairs, runs, kv, copies, length, d_head)
    parts = [shown, ending.view(pairs, runs, kv, copies, -1, d_head)]
    return torch.cat(parts, dim=-2).view(*ending.shape[:2], -1, d_head)


@dataclass(frozen=True, eq=False)
class Endings:
    """A model, a batch, and the cache of the batch's prefix: runs any embeddings of the endings."""

    model: PreTrainedModel
    access: HeadAccess
    batch: Batch
    cache: Cache | None

    @property
    def clean(self) -> Float[Tensor, "pair ending d"]:
        """Clean token embeddings."""
        embeddings: Tensor = self.access.embedding(self.batch.clean)
        return embeddings

    @property
    def corrupt(self) -> Float[Tensor, "pair ending d"]:
        """Corrupt token embeddings."""
        embeddings: Tensor = self.access.embedding(self.batch.corrupt)
        return embeddings

    def logits(self, embeddings: Float[Tensor, "pair run ending d"]) -> Float[Tensor, "pair run column vocab"]:
        """Logits of the batch's vocabulary at the evaluated columns only; the runs of a pair are rows of one pass."""
        pairs, runs = embeddings.shape[:2]
        output = self.model(
            inputs_embeds=embeddings.flatten(0, 1),
            attention_mask=self.batch.mask.repeat_interleave(runs, dim=0),
            position_ids=self.batch.position_ids[:, -self.batch.ending :].repeat_interleave(runs, dim=0),
            past_key_values=self.cache,
            use_cache=False,
            logits_to_keep=self.batch.columns,
        )
        logits: Tensor = output.logits
        return logits.view(pairs, runs, len(self.batch.columns), -1)[..., : self.batch.vocabulary]


@torch.no_grad()
def endings(model: PreTrainedModel, access: HeadAccess, batch: Batch) -> Endings:
    """Run the batch's prefixes, each distinct one once, and keep their keys and values.

    Prefixes of texts whose lengths turn them differently are distinct: their keys are those of the whole texts.
    """
    length = batch.prefix.shape[1]
    if not length:
        return Endings(model, access, batch, None)
    lengths = batch.position_ids[:, -1] + 1
    prefixes = torch.cat([batch.prefix, batch.mask[:, :length]], dim=1).tolist()
    first, rows = _distinct(list(zip(map(tuple, prefixes), frequency_regimes(model, lengths), strict=True)))
    cache = DynamicCache()
    with full_text_lengths(lengths[first]):
        model.base_model(
            input_ids=batch.prefix[first],
            attention_mask=batch.mask[first, :length],
            position_ids=batch.position_ids[first, :length],
            past_key_values=cache,
            use_cache=True,
        )
    layers = [PrefixLayer(layer.keys[rows], layer.values[rows]) for layer in cache.layers]
    return Endings(model, access, batch, Cache(layers=layers))


def _distinct(prefixes: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """First row of each distinct prefix, and for every row which of those it equals."""
    seen: dict[Hashable, int] = {}
    first: list[int] = []
    rows = []
    for index, prefix in enumerate(prefixes):
        if prefix not in seen:
            seen[prefix] = len(first)
            first.append(index)
        rows.append(seen[prefix])
    return first, rows


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """Within the block no parameter asks for a gradient, neither inference mode nor autocast holds, be it the caller's
    or the model's own, and every text is turned by its own length (``rotary``); everything gets its setting back."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        precision = torch.autocast(model.device.type, enabled=False)
        with own_forward(model), torch.inference_mode(False), precision, own_text_lengths(model):
            yield
    finally:
        clear_merged_layers()
        for parameter in trainable:
            parameter.requires_grad_(True)
