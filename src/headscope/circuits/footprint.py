"""Bytes of memory that attribution and patching need per pair, row (run of a pair) and position.

What a node of attribution keeps per token is measured and not derived: one pass over ``_PROBE_TOKENS`` tokens is run
and the bytes counted that autograd saves and that gradients take, so that every architecture's own MLP, norms and
attention count. Everything else is added up by its shape.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headscope.circuits.adaptive_quadrature import NODE_CAP
from headscope.circuits.batches import Sizes, collate
from headscope.circuits.contraction import contraction_dtype
from headscope.circuits.gradients import read_gradients
from headscope.circuits.objective import Objective
from headscope.circuits.prefix_cache import cache_prefix
from headscope.models import HeadAccess
from headscope.pairs import Pairs

_PROBE_TOKENS = 4
_FLOAT_BYTES = 4
# Copies of the vocabulary's width that a metric makes while it is worked out and differentiated (measured for kl).
_LOGIT_COPIES = 6
# The allocator keeps more than was asked of it, and passes have short-lived results (measured, tests/circuits).
_SLACK = 1.25


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory needed on one model, without its weights. A row is one run of one pair.

    vocabulary: number of vocabulary entries.
    width: bytes of one number of the model's type.
    token: per token of one row.
    column: per evaluated position of one row.
    key: per prefix position of one row.
    square: per token and token it can attend to, of one row.
    fixed: per row of any length.
    held: per ending token of one pair, in addition to what its sources wrote.
    matrices: how many float32 [F, B] are kept of one pair.
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
    def contraction_dtype(self) -> torch.dtype:
        """Return the type in which Δ and gradients are multiplied."""
        return contraction_dtype(self.access.dtype, self.access.device)

    def row(self, sizes: Sizes) -> int:
        """Return the bytes of one row of a pass; in attribution one node of one pair, forward and backward."""
        ending, total, columns = sizes
        activations = ending * self.token + columns * self.column
        attention = (total - ending) * self.key + ending * total * self.square
        return int(_SLACK * (activations + attention + self.fixed))

    def pair(self, sizes: Sizes) -> int:
        """Return the bytes of one pair while its rows run: prefix cache, writes of both texts, logits and scores."""
        ending, total, columns = sizes
        access = self.access
        # Keys and values of the prefix, grouped as the model has them.
        cache = 2 * self.width * len(access.layers) * access.kv_heads * access.d_head * (total - ending)
        scores = _FLOAT_BYTES * access.graph.real.size * self.matrices
        # Clean and corrupt ones, counted as float32.
        logits = 2 * _FLOAT_BYTES * columns * self.vocabulary
        return int(cache + ending * (written_bytes(access) + self.held) + logits + scores)

    def position(self, pairs: int, groups: int, nodes: int) -> int:
        """Return the bytes of one position of attribution's contraction.

        They are Δ of all sources of the pairs, and a block's gradients of ``groups`` rows, each a mean over ``nodes``.
        """
        access = self.access
        delta = pairs * len(access.graph.sources) * access.d_model
        # Twice: a block is made, and copied if its groups are of several pairs.
        gradients = 2 * groups * (3 * access.heads + 1) * (access.d_model + access.d_head)
        # The norm's terms, which stay apart per node until they are multiplied.
        stream = 2 * groups * nodes * (access.d_model + 3 * access.heads)
        return self.contraction_dtype.itemsize * (delta + gradients) + _FLOAT_BYTES * stream


def written_bytes(access: HeadAccess) -> int:
    """Return the bytes per token of what all sources write in both texts, and of the residual streams between."""
    numbers = len(access.layers) * (access.heads * access.d_head + 3 * access.d_model) + 3 * access.d_model
    return int(2 * access.dtype.itemsize * numbers)


def attribution_footprint(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Return attribution's footprint, its bytes per token measured by one tiny pass."""
    return _differentiated_footprint(model, access, _measure_probe(model, access) // _PROBE_TOKENS)


def attribution_bound(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Return an upper bound on attribution's footprint: every weight keeps its input and its output."""
    # A dozen streams and a dozen z per layer: more than norms, rotations and sums of any family keep (tests/circuits).
    streams = len(access.layers) * (12 * access.d_model + 12 * access.heads * access.d_head)
    return _differentiated_footprint(model, access, _FLOAT_BYTES * (sum(_map_widths(model, access)) + streams))


def replay_footprint(model: PreTrainedModel, access: HeadAccess, held: int = 0) -> Footprint:
    """Return the footprint of runs without a gradient, which keep one layer's activations at a time.

    held: see ``Footprint``.
    """
    # The widest layer: without a gradient a layer's activations are gone when the next one runs.
    numbers = max(_map_widths(model, access)) + 12 * access.d_model + 12 * access.heads * access.d_head
    return _forward_footprint(model, access, numbers, fixed=0, held=held)


def circuit_footprint(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Return the footprint of runs in which every destination has a stream of its own; a row is a circuit on a pair."""
    graph = access.graph
    # Every source's departure, and a layer's 3H streams while they are summed, cast and normalised.
    streams = len(graph.sources) + 6 * 3 * access.heads + access.heads
    numbers = max(_map_widths(model, access)) + (12 + streams) * access.d_model + 12 * access.heads * access.d_head
    # A constant patch is a residual stream at every place that reads one.
    held = _FLOAT_BYTES * access.d_model * len(access.stream_inputs)
    return _forward_footprint(model, access, numbers, fixed=_FLOAT_BYTES * graph.real.size, held=held)


def _map_widths(model: PreTrainedModel, access: HeadAccess) -> list[int]:
    """Return per layer how many numbers its linear maps read and give per token."""
    experts = getattr(model.config, "num_experts_per_tok", None) or 1
    widths = []
    for layer in access.layers:
        # By identity: a weight that two modules share is one map.
        weights = {id(weight): weight for weight in layer.block.parameters() if weight.ndim > 1}
        # More than two axes: a stack of experts, of which each token takes a few.
        widths.append(sum(sum(w.shape[-2:]) * (experts if w.ndim > 2 else 1) for w in weights.values()))
    return widths


def _is_eager(model: PreTrainedModel) -> bool:
    return getattr(model.config, "_attn_implementation", "") == "eager"


def _differentiated_footprint(model: PreTrainedModel, access: HeadAccess, token: int) -> Footprint:
    width: int = access.dtype.itemsize
    vocabulary = access.vocabulary
    return Footprint(
        access=access,
        vocabulary=vocabulary,
        width=width,
        token=token,
        column=_LOGIT_COPIES * _FLOAT_BYTES * vocabulary,
        # Autograd keeps every layer's keys and values of the prefix, repeated for each query head.
        key=2 * len(access.layers) * access.heads * access.d_head * width,
        # Per pair of positions eager attention keeps scores and probabilities, and takes as much again on the way
        # through one layer; other kernels take the mask, some of them once per head.
        square=_FLOAT_BYTES * access.heads * (3 * len(access.layers) + 8 if _is_eager(model) else 1),
        # Adaptive nodes keep a matrix each, on the CPU.
        matrices=NODE_CAP if access.device.type == "cpu" else 2,
        # Means: r · g of every head's q, k and v, and what every MLP's and the final norm's gradient is.
        held=_FLOAT_BYTES * (len(access.layers) * (3 * access.heads * access.d_head + access.d_model) + access.d_model),
        node=len(access.layers) * (width * access.d_model + _FLOAT_BYTES * 3 * access.heads),
    )


def _forward_footprint(model: PreTrainedModel, access: HeadAccess, numbers: int, fixed: int, held: int) -> Footprint:
    width: int = access.dtype.itemsize
    vocabulary = access.vocabulary
    return Footprint(
        access=access,
        vocabulary=vocabulary,
        width=width,
        token=_FLOAT_BYTES * numbers,
        column=_LOGIT_COPIES * _FLOAT_BYTES * vocabulary,
        # One layer's keys and values, and their copy in the concatenation with those of the ending.
        key=2 * 2 * access.heads * access.d_head * width,
        square=_FLOAT_BYTES * access.heads * (8 if _is_eager(model) else 1),
        fixed=fixed,
        held=held,
    )


def _measure_probe(model: PreTrainedModel, access: HeadAccess) -> int:
    """Return the bytes that one node of ``_PROBE_TOKENS`` tokens keeps until its gradients are read, without logits."""
    pairs = Pairs.from_tokens([[0] * _PROBE_TOKENS], [[1] * _PROBE_TOKENS])
    batch = collate(pairs, [0], access.device)
    runner = cache_prefix(model, access, batch)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    # Each storage counts once, however many views of it are saved. It is held until the end: once it is freed, another
    # may take its address, and whether that one is counted would change from call to call.
    storages: dict[int, torch.UntypedStorage] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.shape[-1:] != (access.vocabulary,):  # a GPU's attention saves single numbers too
            storages.setdefault(storage.data_ptr(), storage)
        return tensor

    with torch.no_grad():
        embeddings = runner.corrupt_embeddings[:, None]
    target = torch.zeros(1, len(batch.columns), access.vocabulary, dtype=torch.float32, device=access.device)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        readings, _ = read_gradients(runner, Objective("kl", batch, target, target), embeddings)
    for reading in readings:
        for tensor in (reading.residual, *reading.outputs, *reading.gradients):
            count(tensor)
    return sum(storage.nbytes() for address, storage in storages.items() if address not in weights)
