"""A stated budget of memory, and what attribution keeps: how many pairs, nodes and positions go through at a time.

What a node keeps per token is measured, not derived: one pass over ``_PROBE`` tokens is run and the bytes counted that
autograd saves and that gradients take, so that every architecture's own MLP, norms and attention count. Logits, keys
of the prefix, Δ of the sources and per-head gradients are added by their shapes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headscope.circuits.batches import CPU_TOKENS, NODES, collate
from headscope.circuits.endings import endings
from headscope.circuits.gradients import readings
from headscope.circuits.objective import Objective
from headscope.circuits.refinement import NODE_CAP
from headscope.errors import InputError
from headscope.models import HeadAccess
from headscope.pairs import Pairs

_PROBE = 4
_FLOAT = 4
# Copies of the vocabulary's width that a metric makes while it is worked out and differentiated (measured for kl).
_LOGITS = 6
# What the allocator keeps beyond what was asked of it, and passes' passing results (measured, tests/circuits).
_SLACK = 1.25


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the CPU's allocator, had no memory left."""
    refused = "can't allocate memory", "not enough memory"
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in refused)


def free_memory(device: torch.device) -> int:
    """The default budget: half of what the device has free, in bytes; 4 GiB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (free,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError):
        return 4 * 2**30
    return free // 2


@dataclass(frozen=True)
class Footprint:
    """Bytes that attribution keeps on one model; weights are not counted.

    vocabulary: its size. width: of one number of the model's type.
    token: per token of one node, by autograd and as read outputs and their gradients.
    column: per evaluated position of one node. key: per prefix position of one node.
    square: per token and token it can attend to, of one node.
    """

    access: HeadAccess
    vocabulary: int
    width: int
    token: int
    column: int
    key: int
    square: int

    def node(self, ending: int, total: int, columns: int) -> int:
        """One node of one pair, forward and backward."""
        kept = ending * self.token + columns * self.column + (total - ending) * self.key + ending * total * self.square
        return int(_SLACK * kept)

    def pair(self, ending: int, total: int, columns: int) -> int:
        """One pair, while its nodes run: keys and values, what its sources wrote in both texts, scores."""
        access, layers = self.access, len(self.access.layers)
        cache = 2 * layers * access.kv_heads * access.d_head * (total - ending)
        writes = 2 * ending * (layers * (access.heads * access.d_head + 3 * access.d_model) + 3 * access.d_model)
        scores = _FLOAT * access.graph.real.size * (NODE_CAP if access.device.type == "cpu" else 2)
        bytes_kept: int = self.width * (cache + writes) + 2 * _FLOAT * columns * self.vocabulary + scores
        return bytes_kept

    def position(self, pairs: int, groups: int, nodes: int) -> int:
        """One position of the contraction: Δ of all sources of the pairs, and a layer's gradients of ``groups``
        rows, each the mean over ``nodes``."""
        access, sources = self.access, len(self.access.graph.sources)
        delta = 2 * pairs * sources * access.d_model
        gradients = 3 * access.heads * groups * (3 * access.d_model + 4 * nodes * access.d_head)
        stream = groups * nodes * 4 * access.d_model
        return _FLOAT * (delta + gradients + stream)


def footprint(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """Measure a model's footprint by one tiny pass."""
    return _footprint(model, access, _kept(model, access) // _PROBE)


def bound(model: PreTrainedModel, access: HeadAccess) -> Footprint:
    """More than a model's footprint can be, by the shapes of its weights: each map keeps what it reads and gives."""
    weights = {id(weight): weight for layer in access.layers for weight in layer.block.parameters()}.values()
    experts = getattr(model.config, "num_experts_per_tok", None) or 1
    maps = sum(sum(weight.shape[-2:]) * (experts if weight.ndim > 2 else 1) for weight in weights if weight.ndim > 1)
    streams = len(access.layers) * (12 * access.d_model + 12 * access.heads * access.d_head)
    return _footprint(model, access, _FLOAT * (maps + streams))


def _footprint(model: PreTrainedModel, access: HeadAccess, token: int) -> Footprint:
    vocabulary = access.embedding.num_embeddings
    width: int = access.embedding.weight.element_size()
    eager = getattr(model.config, "_attn_implementation", "") == "eager"
    return Footprint(
        access=access,
        vocabulary=vocabulary,
        width=width,
        token=token,
        column=_LOGITS * _FLOAT * vocabulary,
        key=2 * len(access.layers) * access.heads * access.d_head * width,
        # Per pair of positions eager attention keeps scores and probabilities, and takes as much again on the way
        # through one layer; other kernels take the mask, some of them once per head.
        square=_FLOAT * access.heads * (3 * len(access.layers) + 8 if eager else 1),
    )


def _kept(model: PreTrainedModel, access: HeadAccess) -> int:
    """Bytes one node of ``_PROBE`` tokens keeps until its gradients are read, logits left out."""
    batch = collate(Pairs.from_tokens([[0] * _PROBE], [[1] * _PROBE]), [0], access.device)
    run = endings(model, access, batch)
    columns, vocabulary = len(batch.columns), access.embedding.num_embeddings
    sizes = {parameter.untyped_storage().data_ptr(): 0 for parameter in model.parameters()}

    def count(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if value.shape[-1] != vocabulary:
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


def budget_for(model: PreTrainedModel, access: HeadAccess, pairs: Pairs, nodes: int, memory: int) -> "Budget":
    """The budget of one call of ``nodes`` nodes per pair.

    The footprint is measured only where its bound leaves less room than can be used: the measuring pass reads every
    weight, which is dear on a CPU. Raises InputError where not one node of one pair fits.
    """
    roomy = Budget(bound(model, access), memory)
    if roomy.ample(pairs, nodes):
        return roomy
    measured = Budget(footprint(model, access), memory)
    measured.check(pairs)
    return measured


class Budget:
    """What one call of ``attribute`` may hold at a time; shrinks when memory runs out all the same."""

    def __init__(self, footprint: Footprint, memory: int) -> None:
        self.footprint = footprint
        self.memory = memory
        self.most = torch.iinfo(torch.int64).max
        self.shrunk = False

    def ample(self, pairs: Pairs, nodes: int) -> bool:
        """Whether a pass may hold all nodes of all pairs, or as many as a CPU can use."""
        if self.footprint.access.device.type != "cpu":
            return False
        ending, total = (max(sizes) for sizes in zip(*((one.ending, len(one.clean)) for one in pairs), strict=True))
        columns = max(len(one.positions) for one in pairs)
        rows = max(1, min(CPU_TOKENS // ending, len(pairs) * nodes))
        side = min(len(pairs), max(1, rows // NODES))
        taken = side * self.footprint.pair(ending, total, columns) + rows * self.footprint.node(ending, total, columns)
        room: bool = taken + ending * self.footprint.position(side, rows, 1) <= self.memory // 2
        return room

    def pairs(self, ending: int, total: int, columns: int = 1) -> int:
        """Pairs of a batch: as many as fill a pass with a few nodes each, in a third of the budget; at least one."""
        each = self.footprint.pair(ending, total, columns)
        rows = self._rows(ending, total, columns, self.memory // 2)
        return max(1, min(self.memory // 3 // each, rows // NODES))

    def rows(self, ending: int, total: int, columns: int, pairs: int) -> int:
        """Rows (one node of one pair) of a pass."""
        left = self.memory - pairs * self.footprint.pair(ending, total, columns)
        return self._rows(ending, total, columns, left // 2)

    def positions(self, ending: int, total: int, columns: int, pairs: int, groups: int, nodes: int) -> int:
        """Positions of one round of the contraction after a pass of ``groups`` × ``nodes`` rows, in half of what is
        left: the allocator does not give back all that the pass has freed."""
        taken = pairs * self.footprint.pair(ending, total, columns)
        taken += groups * nodes * self.footprint.node(ending, total, columns)
        return max(1, (self.memory - taken) // 2 // self.footprint.position(pairs, groups, nodes))

    def shrink(self, rows: int) -> None:
        """After running out of memory with ``rows`` rows: half of them from now on."""
        self.most = max(1, rows // 2)
        self.shrunk = True

    def _rows(self, ending: int, total: int, columns: int, memory: int) -> int:
        rows = max(1, memory // self.footprint.node(ending, total, columns))
        if self.footprint.access.device.type == "cpu":
            rows = min(rows, max(1, CPU_TOKENS // ending))
        return min(rows, self.most)

    def check(self, pairs: Pairs) -> None:
        """Raises InputError where not one node of one of the pairs fits."""
        for ending, total, columns in {(one.ending, len(one.clean), len(one.positions)) for one in pairs}:
            self._check(ending, total, columns)

    def _check(self, ending: int, total: int, columns: int) -> None:
        one = self.footprint
        needed = one.pair(ending, total, columns) + one.node(ending, total, columns) + 2 * one.position(1, 1, 1)
        if needed > self.memory:
            raise InputError(
                f"one node of a pair of {total} tokens, {ending} of them from the first difference on, needs "
                f"{needed:,} bytes beside the model; memory allows {self.memory:,}"
            )


def checked(memory: Any, device: torch.device) -> int:
    """The budget in bytes; InputError unless it is None or a whole number above 0."""
    if memory is None:
        return free_memory(device)
    if not isinstance(memory, int) or isinstance(memory, bool) or memory < 1:
        raise InputError(f"found memory={memory!r}; give a number of bytes above 0, or None")
    return memory
