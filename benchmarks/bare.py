"""The passes attribution cannot avoid, in plain transformers: the yardstick of its speed.

1. A plain forward of the shared tokens, each distinct prefix once.
2. A plain forward of both endings over that cache.
3. Forward and backward to the embeddings of the quadrature nodes over that cache, the nodes and passes attribution ran.

No hooks, no scores, no code of the engine but its batches of token ids, so that both sides run the same rows. Spreading
the cache over the rows of a pass is not on the clock: a faster cache than transformers' own might not need it.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float, Int
from measuring import now
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from headscope.circuits.batches import Batch
from headscope.circuits.integration import Integrand


@dataclass(frozen=True, eq=False)
class Nodes:
    """The rows of one pass: which pair of the batch each is of, and where on its path."""

    pairs: list[int]
    alphas: Float[np.ndarray, " row"]


@dataclass(frozen=True, eq=False)
class Work:
    """One batch and the passes over its nodes."""

    batch: Batch
    passes: list[Nodes] = field(default_factory=list)

    @classmethod
    def fixed(cls, batch: Batch, alphas: Float[np.ndarray, " node"]) -> "Work":
        """The same nodes of every pair, in one pass."""
        pairs = range(len(batch.indices))
        rows = [pair for pair in pairs for _ in alphas]
        return cls(batch, [Nodes(rows, np.tile(alphas, len(pairs)))])


def work_of(attribution: Callable[[], object]) -> list[Work]:
    """What ``attribution`` runs: its batches, and the passes over nodes of each."""
    found: dict[int, Work] = {}
    own = Integrand._pass

    def noted(integrand: Integrand, rows: list[int], alphas: Any) -> Any:
        work = found.setdefault(id(integrand), Work(integrand.runner.batch))
        work.passes.append(Nodes(rows, alphas))
        kept.append(integrand)
        return own(integrand, rows, alphas)

    kept: list[Integrand] = []  # so that no other takes its id
    with patch.object(Integrand, "_pass", noted):
        attribution()
    return list(found.values())


class Clock:
    """Adds up the seconds spent inside ``running()``."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the block."""
        started = now()
        yield
        self.seconds += now() - started


@dataclass(frozen=True, eq=False)
class Passes:
    """Seconds of the three kinds of passes, and per pass over nodes the loss's gradient at the embeddings."""

    seconds: float
    gradients: list[Float[Tensor, "row ending d"]]


def bare_passes(model: PreTrainedModel, work: Work) -> Passes:
    """The passes on one batch, KL as the loss; the model's parameters must ask for no gradient."""
    clock, batch = Clock(), work.batch
    cache = _prefix(model, batch, clock)
    embed = model.get_input_embeddings()
    every = [pair for pair in range(len(batch.indices)) for _ in range(2)]
    with torch.no_grad():
        both = embed(torch.stack([batch.clean, batch.corrupt], dim=1))
        inputs = _over(cache, batch, every)
        with clock.running():
            target = _logits(model, both.flatten(0, 1), inputs)[::2].log_softmax(-1)
    gradients = []
    for one in work.passes:
        inputs = _over(cache, batch, one.pairs)
        with clock.running():
            alphas = torch.as_tensor(one.alphas, dtype=both.dtype, device=both.device)[:, None, None]
            clean, corrupt = both[one.pairs].unbind(1)
            nodes = (corrupt + alphas * (clean - corrupt)).requires_grad_()
            aim = target[one.pairs]
            divergence = (aim.exp() * (aim - _logits(model, nodes, inputs).log_softmax(-1))).sum(-1)
            loss = (divergence * batch.weights[one.pairs]).sum()
            gradients += torch.autograd.grad(loss, nodes)
    return Passes(clock.seconds, gradients)


@torch.no_grad()
def forward_seconds(model: PreTrainedModel, work: Work, rows: int) -> float:
    """Seconds of a plain forward of one ending over its cached prefix, where ``rows`` of a pair run together."""
    clock, batch = Clock(), work.batch
    cache = _prefix(model, batch, Clock())
    every = [pair for pair in range(len(batch.indices)) for _ in range(rows)]
    embeddings = model.get_input_embeddings()(batch.corrupt)[every]
    inputs = _over(cache, batch, every)
    with clock.running():
        _logits(model, embeddings, inputs)
    return clock.seconds / len(every)


@torch.no_grad()
def _prefix(model: PreTrainedModel, batch: Batch, clock: Clock) -> DynamicCache | None:
    """Keys and values of the prefixes, one row per pair."""
    length = batch.prefix.shape[1]
    if not length:
        return None
    table, rows = torch.unique(torch.cat([batch.prefix, batch.mask[:, :length]], dim=1), dim=0, return_inverse=True)
    tokens, mask = table.split(length, dim=1)
    cache = DynamicCache()
    inputs = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
    with clock.running():
        model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True, **inputs)
    cache.batch_select_indices(rows)
    return cache


def _over(cache: DynamicCache | None, batch: Batch, pairs: list[int]) -> dict[str, Any]:
    """What a pass of these rows takes beside its embeddings; its cache is its own."""
    wide = copy.deepcopy(cache)
    rows: Int[Tensor, " row"] = torch.as_tensor(pairs, device=batch.mask.device)
    if wide is not None:
        wide.batch_select_indices(rows)
    return {
        "past_key_values": wide,
        "attention_mask": batch.mask[rows],
        "position_ids": batch.position_ids[rows, -batch.ending :],
        "logits_to_keep": batch.columns,
        "use_cache": wide is not None,
    }


def _logits(
    model: PreTrainedModel, embeddings: Float[Tensor, "row ending d"], inputs: dict[str, Any]
) -> Float[Tensor, "row column vocab"]:
    logits: Tensor = model(inputs_embeds=embeddings, **inputs).logits
    return logits
