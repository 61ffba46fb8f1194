"""Measure the faithfulness of circuits: the metric of each pair with all edges outside the circuit patched (method
section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from headscope.circuits.batches import check_pairs, collate
from headscope.circuits.budget import Budget
from headscope.circuits.circuit_pass import circuit_logits
from headscope.circuits.footprint import circuit_footprint
from headscope.circuits.frozen_model import frozen_model
from headscope.circuits.objective import METRICS, Metric, Objective, provenance
from headscope.circuits.patch_values import (
    ConstantWrites,
    Patch,
    constant_patch,
    corrupt_patch,
    mean_writes,
    sum_writes,
    zero_writes,
)
from headscope.circuits.prefix_cache import EndingRunner, cache_prefix
from headscope.circuits.selection import select
from headscope.circuits.source_deltas import SourceWrites, record_writes
from headscope.errors import InputError, suggestion
from headscope.models import HeadAccess, Subject, as_model, head_access, name_of
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import LADDER, Faithfulness, FaithfulnessCurve

PATCHES = ("corrupt", "zero", "mean")


def faithfulness(
    model: Subject | nn.Module,
    pairs: Pairs,
    circuit: Circuit,
    metric: str | Metric = "kl",
    *,
    patch: str = "corrupt",
    batch: int | None = None,
    memory: int | None = None,
) -> Faithfulness:
    """Return the metric of the circuit alone on ``pairs``, with every other edge patched.

    It is computed in one pass per batch of pairs.

    Args:
        model: as in ``attribute``.
        pairs: as in ``attribute``.
        circuit: a circuit of the model's graph.
        metric: as in ``attribute``.
        patch: what the other edges carry. ``corrupt``: their source's write on the corrupt text. ``zero``: zeros.
            ``mean``: the mean of their source's writes over all tokens of the pairs' clean texts. Zero and mean patch
            every position, including those both texts share. The attention's output bias and learned positions belong
            to no source and are left as they are; an MLP's output bias is part of its write.
        batch: as in ``attribute``.
        memory: as in ``attribute``.

    Raises:
        InputError: if the circuit's graph is not the model's, the patch is unknown, one run of one pair does not fit in
            memory, a metric is not finite, or the patch is ``corrupt`` and no pair's texts differ.
    """
    if not isinstance(circuit, Circuit):
        raise InputError(f"circuit is {type(circuit).__name__}; give a Circuit, as select(scores, …) returns")
    request = _FaithfulnessRequest(metric, patch, batch, memory)
    losses, settings = _measure_circuits(model, pairs, [circuit], request, SILENT)
    return Faithfulness(losses[0], losses[1], losses[2], len(circuit), {**settings, "circuit": circuit.settings})


def faithfulness_curve(
    model: Subject | nn.Module,
    pairs: Pairs,
    scores: EdgeScores,
    metric: str | Metric | None = None,
    *,
    fractions: Sequence[float] = LADDER,
    patch: str = "corrupt",
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> FaithfulnessCurve:
    """Return the faithfulness of the circuits of ``scores`` at several sizes, with CPR and CMD.

    The clean, corrupt and prefix passes are shared by all circuits, which run side by side.

    Args:
        model: as in ``attribute``.
        pairs: as in ``attribute``.
        scores: edge scores of the model, from which ``select`` takes the circuits.
        metric: as in ``attribute``; None takes that of the scores.
        fractions: the sizes, ascending shares of the real edges.
        patch: as in ``faithfulness``.
        batch: as in ``attribute``.
        memory: as in ``attribute``.
        progress: counts pairs.

    Raises:
        InputError: as in ``faithfulness``, or if ``metric`` is None and that of the scores was a function.
    """
    metric = scores.settings.get("metric") if metric is None else metric
    if metric is None or (isinstance(metric, str) and metric not in METRICS):
        raise InputError(f"the scores' metric is {metric!r}; give the metric in which faithfulness is measured")
    circuits = [select(scores, fraction=fraction) for fraction in fractions]
    losses, settings = _measure_circuits(
        model, pairs, circuits, _FaithfulnessRequest(metric, patch, batch, memory), progress
    )
    sizes = tuple(len(circuit) for circuit in circuits)
    settings["scores"] = scores.settings
    shares = np.array(fractions, dtype=np.float64)
    return FaithfulnessCurve(losses[0], losses[1], losses[2:], shares, sizes, settings, pairs.problems)


@dataclass(frozen=True)
class _FaithfulnessRequest:
    """The settings that ``faithfulness`` and ``faithfulness_curve`` share; see there."""

    metric: str | Metric
    patch: str
    batch: int | None
    memory: int | None


def _measure_circuits(
    model: Subject | nn.Module, pairs: Pairs, circuits: list[Circuit], request: _FaithfulnessRequest, progress: Progress
) -> tuple[Float[np.ndarray, "row pair"], dict[str, object]]:
    """Return the metric of the whole model, of the empty circuit and of each circuit, and the result's settings."""
    plain = as_model(model)
    access = head_access(plain)
    # Equal texts leave nothing between the whole and the empty circuit, unless another patch than theirs does.
    check_pairs(pairs, differ=request.patch == "corrupt")
    if request.patch not in PATCHES:
        raise InputError(f"patch {request.patch!r} is unknown{suggestion(request.patch, PATCHES)}")
    edges = _stack_edges(model, access, circuits)
    # Positions that both texts share are patched too, unless the corrupt text's writes are: they are the same there.
    budget = Budget(circuit_footprint(plain, access), request.memory, request.batch, whole=request.patch != "corrupt")
    budget.check(pairs)
    losses = np.zeros((1 + len(edges), len(pairs)), dtype=np.float32)

    def prepare(group: list[int]) -> EndingRunner:
        ending = max(len(pairs.clean[index]) for index in group) if budget.whole else 0
        return cache_prefix(plain, access, collate(pairs, group, access.device, ending=ending))

    def measure_group(group: list[int], bar: Bar) -> None:
        losses[:, group] = _measure_batch(prepare(group), request, means, edges, budget)
        bar.advance(len(group))

    with frozen_model(plain), torch.no_grad(), progress.bar("faithfulness", len(pairs)) as bar:
        means = None
        if request.patch == "mean":
            sums = budget.over_pairs(pairs, lambda group, _bar: sum_writes(prepare(group)), bar)
            means = mean_writes(sums)
        budget.over_pairs(pairs, measure_group, bar)
    return losses, provenance(model, pairs, request.metric) | {"patch": request.patch} | budget.shortages


def _stack_edges(
    model: Subject | nn.Module, access: HeadAccess, circuits: list[Circuit]
) -> Bool[Tensor, "circuit F B"]:
    """Return the empty circuit's edges and those of each circuit, every query head with its own k and v input."""
    edges = [np.zeros_like(access.graph.real)]  # the empty circuit, against which the others are normalised
    for circuit in circuits:
        if circuit.graph.per_query != access.graph:
            raise InputError(f"circuit of {circuit.graph} does not fit model {name_of(model)} of {access.graph}")
        edges.append(circuit.graph.unfold(circuit.edges))
    return torch.as_tensor(np.stack(edges), device=access.device)


def _measure_batch(
    runner: EndingRunner,
    request: _FaithfulnessRequest,
    means: ConstantWrites | None,
    edges: Bool[Tensor, "circuit F B"],
    budget: Budget,
) -> Float[np.ndarray, "row pair"]:
    """Return the metric of one batch's clean run and of every circuit, as many at a time as a pass may hold."""
    writes = record_writes(runner)
    objective = Objective.from_runs(request.metric, runner.batch, writes.logits)
    patch_values = _make_patch(runner, writes, request.patch, means)
    pairs = len(runner.batch.indices)

    def measure_part(part: slice) -> Float[Tensor, "pair circuit"]:
        return objective(circuit_logits(runner, writes, patch_values, edges[part]))

    size = budget.rows(runner.batch.sizes, pairs) // pairs
    losses = [objective(writes.logits[:, :1])]
    losses += [part_losses for _, part_losses in budget.row_limit.run_parts(len(edges), size, measure_part, rows=pairs)]
    return torch.cat(losses, dim=1).T.float().cpu().numpy()


def _make_patch(runner: EndingRunner, writes: SourceWrites, patch: str, means: ConstantWrites | None) -> Patch:
    if patch == "corrupt":
        return corrupt_patch(writes)
    return constant_patch(runner, writes, zero_writes(writes) if means is None else means)
