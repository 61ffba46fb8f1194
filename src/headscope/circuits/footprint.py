"""What the engine keeps in memory, in bytes, by what goes through: pairs, rows (runs of a pair), positions.

What a node of attribution keeps per token is measured, not derived: one pass over ``_PROBE`` tokens is run and the
bytes counted that autograd saves and that gradients take, so that every architecture's own MLP, norms and attention
count. Everything else is added up by its shape.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headscope.circuits.batches import Sizes, collate
from headscope.circuits.endings import endings
from headscope.circuits.gradients import readings
from headscope.circuits.objective import Objective
from headscope.circuits.operands import operand
from headscope.circuits.refinement import NODE_CAP
from headscope.models import HeadAccess
from headscope.pairs import Pairs

_PROBE = 4
_FLOAT = 4
# Copies of the vocabulary's width that a metric makes while it is worked out and differentiated (measured for kl).
_LOGITS = 6
# What the allocator keeps beyond what was asked of it, and passes' passing results (measured, tests/circuits).
_SLACK = 1.25


@dataclass(frozen=True)
class Footprint:
    """Bytes that the engine keeps on one model; weights are not counted. A row is one run of one pair.

    vocabulary: its size. width: of one number of the model's type.
    token: per token of one row. column: per evaluated position of one row. key: per prefix position of one row.
    square: per token and token it can attend to, of one row. fixed: per row, however long.
    held: per ending token of one pair, beside what its sources wrote. matrices: float32 [F, B] kept of one pair.
    node: per ending token of one node that waits for its pair's others.
    """

    access: HeadAccess
    vocabulary: int
    width: int
    token: int
    column: int
    key: int
    square: int
    fixed: int = 0
    held: int = 0
    matrices: int = 1
    node: int = 0

    @property
    def operand(self) -> torch.dtype:
        """In what Δ and gradients are multiplied."""
        return operand(self.access.dtype, self.access.device)

    def row(self, sizes: Sizes) -> int:
        """One row of a pass; in attribution one node of one pair, forward and backward."""
        ending, total, columns = sizes
        kept = ending * self.token + columns * self.column + (total - ending) * self.key + ending * total * self.square
        return int(_SLACK * (kept + self.fixed))

    def pair(self, sizes: Sizes) -> int:
        """One pair, while its rows run: keys and values, what its sources wrote in both texts, scores."""
        ending, total, columns = sizes
        access = self.access
        cache = 2 * self.width * len(access.layers) * access.kv_heads * access.d_head * (total - ending)
        scores = _FLOAT * access.graph.real.size * self.matrices
        logits = 2 * _FLOAT * columns * self.vocabulary
        return int(cache + ending * (written(access) + self.held) + logits + scores)

    def position(self, pairs: int, groups: int, nodes: int) -> int:
        """One position of attribution's contraction: Δ of all sources of the pairs, and a block's gradients of
        ``groups`` rows, each the mean over ``nodes``."""
        access, sources = self.access, len(self.access.graph.sources)
        delta = pairs * sources * access.d_model
        # A block is made, and copied where its groups are of several pairs.
        gradients = 2 * groups * (3 * access.heads + 1) * (access.d_model + access.d_head)
        stream = 2 * groups * nodes * (access.d_model + 3 * access.heads)
        return self.operand.itemsize * (delta + gradients) + _FLOAT * stream


def written(access: HeadAccess) -> int:
    """What is kept per token of what all sources write in both texts, and of the residual streams between."""
    numbers = len(access.layers) * (access.heads * access.d_head + 3 * access.d_model) + 3 * access.d_model
    return int(2 * access.dtype.itemsize * numbers)


def measured(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Attribution's, its tokens measured by one tiny pass."""
    return _differentiated(model, access, _kept(model, access) // _PROBE)


def bound(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """More than attribution's can be, by the shapes of the weights: each map keeps what it reads and gives."""
    streams = len(access.layers) * (12 * access.d_model + 12 * access.heads * access.d_head)
    return _differentiated(model, access, _FLOAT * (sum(_maps(model, access)) + streams))


def replayed(model: PreTrainedModel, access: HeadAccess, held: int = 0) -> Footprint:
    """Of runs without a gradient, which keep one layer's activations at a time. held: see ``Footprint``."""
    numbers = max(_maps(model, access)) + 12 * access.d_model + 12 * access.heads * access.d_head
    return _forward(model, access, numbers, fixed=0, held=held)


def patched(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Of runs in which every destination reads a residual stream of its own: a row is one circuit on one pair."""
    graph = access.graph
    # Every source's departure, and a layer's 3H streams while they are summed, cast and normalised.
    streams = len(graph.sources) + 6 * 3 * access.heads + access.heads
    numbers = max(_maps(model, access)) + (12 + streams) * access.d_model + 12 * access.heads * access.d_head
    # A constant patch is a residual stream at every place that reads one.
    held = _FLOAT * access.d_model * len(access.stream_inputs)
    return _forward(model, access, numbers, fixed=_FLOAT * graph.real.size, held=held)


def _maps(model: PreTrainedModel, access: HeadAccess) -> list[int]:
    """Per layer how many numbers its maps read and give per token."""
    experts = getattr(model.config, "num_experts_per_tok", None) or 1
    return [
        sum(
            sum(weight.shape[-2:]) * (experts if weight.ndim > 2 else 1)
            for weight in {id(weight): weight for weight in layer.block.parameters()}.values()
            if weight.ndim > 1
        )
        for layer in access.layers
    ]


def _eager(model: PreTrainedModel) -> bool:
    return getattr(model.config, "_attn_implementation", "") == "eager"


def _differentiated(model: PreTrainedModel, access: HeadAccess, token: int) -> Footprint:
    width: int = access.dtype.itemsize
    vocabulary = access.vocabulary
    return Footprint(
        access=access,
        vocabulary=vocabulary,
        width=width,
        token=token,
        column=_LOGITS * _FLOAT * vocabulary,
        key=2 * len(access.layers) * access.heads * access.d_head * width,
        # Per pair of positions eager attention keeps scores and probabilities, and takes as much again on the way
        # through one layer; other kernels take the mask, some of them once per head.
        square=_FLOAT * access.heads * (3 * len(access.layers) + 8 if _eager(model) else 1),
        # Adaptive nodes keep a matrix each, on the CPU.
        matrices=NODE_CAP if access.device.type == "cpu" else 2,
        # Means: r · g of every head's q, k and v, and what every MLP's and the final norm's gradient is.
        held=_FLOAT * (len(access.layers) * (3 * access.heads * access.d_head + access.d_model) + access.d_model),
        node=len(access.layers) * (width * access.d_model + _FLOAT * 3 * access.heads),
    )


def _forward(model: PreTrainedModel, access: HeadAccess, numbers: int, fixed: int, held: int) -> Footprint:
    width: int = access.dtype.itemsize
    vocabulary = access.vocabulary
    return Footprint(
        access=access,
        vocabulary=vocabulary,
        width=width,
        token=_FLOAT * numbers,
        column=_LOGITS * _FLOAT * vocabulary,
        key=2 * 2 * access.heads * access.d_head * width,
        square=_FLOAT * access.heads * (8 if _eager(model) else 1),
        fixed=fixed,
        held=held,
    )


def _kept(model: PreTrainedModel, access: HeadAccess) -> int:
    """Bytes one node of ``_PROBE`` tokens keeps until its gradients are read, logits left out."""
    batch = collate(Pairs.from_tokens([[0] * _PROBE], [[1] * _PROBE]), [0], access.device)
    run = endings(model, access, batch)
    columns, vocabulary = len(batch.columns), access.vocabulary
    sizes = {parameter.untyped_storage().data_ptr(): 0 for parameter in model.parameters()}

    def count(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if value.shape[-1:] != (vocabulary,):  # a GPU's attention saves single numbers too
            sizes.setdefault(storage.data_ptr(), storage.nbytes())
        return value

    with torch.no_grad():
        embeddings = run.corrupt[:, None]
    clean = torch.zeros(1, columns, vocabulary, device=access.device)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        read = readings(run, Objective("kl", batch, clean, clean), embeddings)
    for one in read:
        for value in (one.residual, *one.outputs, *one.gradients):
            count(value)
    return sum(sizes.values())
