"""Forward passes over the endings of a batch, on top of prefixes that are run once (method section 3, facts 1 and 5).

``EndingRunner`` holds the prefixes' keys and values and runs any embeddings of the endings; ``cache_prefix`` makes it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from headscope.circuits.batches import Batch
from headscope.models import HeadAccess
from headscope.models.rotary import frequency_regimes, full_text_lengths


class PrefixLayer(DynamicLayer):  # type: ignore[misc]  # transformers is Any to the type checker
    """Keys and values of the prefix, one row per pair; those of a pass's ending are not kept.

    Rows are repeated for the runs of a pair and heads for query-head copies as views: the only copy is the
    concatenation that attention needs anyway.
    """

    def __init__(
        self, keys: Float[Tensor, "pair kv prefix d_head"], values: Float[Tensor, "pair kv prefix d_head"]
    ) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Return keys and values of prefix and ending, [row, head, prefix + ending, d_head]."""
        return _join(self.keys, key_states), _join(self.values, value_states)


def _join(
    prefix: Float[Tensor, "pair kv prefix d_head"], ending: Float[Tensor, "row head ending d_head"]
) -> Float[Tensor, "row head total d_head"]:
    pairs, kv, length, d_head = prefix.shape
    runs = ending.shape[0] // pairs
    copies = ending.shape[1] // kv
    repeated = prefix[:, None, :, None].expand(pairs, runs, kv, copies, length, d_head)
    pieces = [repeated, ending.view(pairs, runs, kv, copies, -1, d_head)]
    return torch.cat(pieces, dim=-2).view(*ending.shape[:2], -1, d_head)


@dataclass(frozen=True, eq=False)
class EndingRunner:
    """A model, a batch and the cache of the batch's prefixes (None without one): runs embeddings of the endings."""

    model: PreTrainedModel
    access: HeadAccess
    batch: Batch
    cache: Cache | None

    @property
    def clean_embeddings(self) -> Float[Tensor, "pair ending d"]:
        """Return the token embeddings of the clean endings."""
        embeddings: Tensor = self.access.embedding(self.batch.clean)
        return embeddings

    @property
    def corrupt_embeddings(self) -> Float[Tensor, "pair ending d"]:
        """Return the token embeddings of the corrupt endings."""
        embeddings: Tensor = self.access.embedding(self.batch.corrupt)
        return embeddings

    def logits(self, embeddings: Float[Tensor, "pair run ending d"]) -> Float[Tensor, "pair run column vocab"]:
        """Return logits at the evaluated columns, over the batch's vocabulary; runs of a pair are rows of one pass."""
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
def cache_prefix(model: PreTrainedModel, access: HeadAccess, batch: Batch) -> EndingRunner:
    """Run each distinct prefix of the batch once, and return the runner that holds their keys and values.

    Equal prefixes of texts whose lengths give them different rotary frequencies count as distinct, so that the keys are
    those of the entire texts.
    """
    length = batch.prefix.shape[1]
    if not length:
        return EndingRunner(model, access, batch, None)
    lengths = batch.position_ids[:, -1] + 1  # of the texts, without padding
    prefixes = torch.cat([batch.prefix, batch.mask[:, :length]], dim=1).tolist()
    keys = list(zip(map(tuple, prefixes), frequency_regimes(model, lengths), strict=True))
    first, rows = _find_distinct(keys)
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
    return EndingRunner(model, access, batch, Cache(layers=layers))


def _find_distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the first row of each distinct key, and for every row the index of its key."""
    numbers: dict[Hashable, int] = {}
    first: list[int] = []
    rows = []
    for row, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(first)
            first.append(row)
        rows.append(numbers[key])
    return first, rows
