"""Faithfulness of circuits: the metric with every other edge patched, per pair and normalised (method section 4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.circuits.batches import collate
from headscope.circuits.contrast import Writes, contrast
from headscope.circuits.endings import Endings, endings, frozen
from headscope.circuits.footprint import patched
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Metric, Objective
from headscope.circuits.patches import (
    Constants,
    Patch,
    constant_patch,
    corrupt_patch,
    mean_writes,
    summed_writes,
    zero_writes,
)
from headscope.circuits.patching import patched_logits
from headscope.circuits.record import record
from headscope.circuits.selection import select
from headscope.errors import InputError, suggestion
from headscope.models import HeadAccess, as_model, head_access, name_of
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import LADDER, Faithfulness, FaithfulnessCurve

PATCHES = ("corrupt", "zero", "mean")


def faithfulness(
    model: Any,
    pairs: Pairs,
    circuit: Circuit,
    metric: str | Metric = "kl",
    *,
    patch: str = "corrupt",
    batch: int | None = None,
    memory: int | None = None,
) -> Faithfulness:
    """Run the circuit alone on ``pairs``: one pass, every other edge patched. Metrics as in ``attribute``.

    patch: what the other edges carry: ``corrupt``, what their source writes on the corrupt text; ``zero``, nothing;
        ``mean``, the mean of what it writes over all tokens of the pairs' clean texts. Zero and mean patch
        every position, also those both texts share. Biases and learned positions belong to no source and stay.
    batch, memory: as in ``attribute``.
    Raises InputError where the circuit's graph is not the model's, the patch is unknown, one run of one pair does not
    fit in memory or a metric is not finite.
    """
    table, settings = _measure(model, pairs, [circuit], metric, patch, batch, memory, SILENT)
    return Faithfulness(table[0], table[1], table[2], len(circuit), {**settings, "circuit": circuit.settings})


def ladder(
    model: Any,
    pairs: Pairs,
    scores: EdgeScores,
    metric: str | Metric = "kl",
    *,
    fractions: Sequence[float] = LADDER,
    patch: str = "corrupt",
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> FaithfulnessCurve:
    """Faithfulness of the circuits of ``scores`` at several ascending fractions of the real edges, with CPR and CMD.

    As ``faithfulness`` of each, but the clean, corrupt and prefix passes are shared, and circuits run side by side.
    """
    circuits = [select(scores, fraction=fraction) for fraction in fractions]
    table, settings = _measure(model, pairs, circuits, metric, patch, batch, memory, progress)
    edges = tuple(len(circuit) for circuit in circuits)
    about = {**settings, "scores": scores.settings}
    return FaithfulnessCurve(table[0], table[1], table[2:], np.array(fractions, dtype=np.float64), edges, about)


def _measure(
    model: Any,
    pairs: Pairs,
    circuits: list[Circuit],
    metric: str | Metric,
    patch: str,
    batch: int | None,
    memory: int | None,
    progress: Progress,
) -> tuple[Float[np.ndarray, "row pair"], dict[str, Any]]:
    """The metric of the whole model, of the empty circuit and of each circuit, and what was measured."""
    plain = as_model(model)
    access = head_access(plain)
    if patch not in PATCHES:
        raise InputError(f"patch {patch!r} is unknown{suggestion(patch, PATCHES)}")
    edges = _edges(model, access, circuits)
    # Positions that both texts share are patched too, unless what they carry is the corrupt text's.
    budget = Budget(patched(plain, access), memory, whole=patch != "corrupt")
    budget.check(pairs)
    table = np.zeros((1 + len(edges), len(pairs)), dtype=np.float32)

    def run(group: list[int]) -> Endings:
        whole = max(len(pairs.clean[index]) for index in group) if budget.whole else 0
        return endings(plain, access, collate(pairs, group, access.device, ending=whole))

    def measure(group: list[int], bar: Bar) -> None:
        table[:, group] = _table(run(group), metric, patch, means, edges, budget)
        bar.advance(len(group))

    with frozen(plain), torch.no_grad(), progress.bar("faithfulness", len(pairs)) as bar:
        means = None
        if patch == "mean":
            means = mean_writes(budget.over_pairs(pairs, batch, lambda group, _bar: summed_writes(run(group)), bar))
        budget.over_pairs(pairs, batch, measure, bar)
    return table, record(model, pairs, metric) | {"patch": patch} | budget.about


def _edges(model: Any, access: HeadAccess, circuits: list[Circuit]) -> Bool[Tensor, "circuit F B"]:
    """The empty circuit's edges and those of each circuit, every query head with its own k and v input."""
    for circuit in circuits:
        if circuit.graph.per_query != access.graph:
            raise InputError(f"circuit of {circuit.graph} does not fit model {name_of(model)} of {access.graph}")
    kept = [np.zeros_like(access.graph.real), *(circuit.graph.unfold(circuit.edges) for circuit in circuits)]
    return torch.as_tensor(np.stack(kept), device=access.device)


def _table(
    run: Endings,
    metric: str | Metric,
    patch: str,
    means: Constants | None,
    edges: Bool[Tensor, "circuit F B"],
    budget: Budget,
) -> Float[np.ndarray, "row pair"]:
    """The metric of one batch's clean run, and of every circuit, as many at a time as a pass may hold."""
    writes = contrast(run)
    objective = Objective(metric, run.batch, writes.logits[:, 0], writes.logits[:, 1])
    others, pairs = _patch(run, writes, patch, means), len(run.batch.indices)

    def measure(some: slice) -> Float[Tensor, "pair circuit"]:
        return objective(patched_logits(run, writes, others, edges[some]))

    parts = budget.limit.parts(len(edges), budget.rows(run.batch.sizes, pairs) // pairs, measure, rows=pairs)
    rows = [objective(writes.logits[:, :1]), *(values for _, values in parts)]
    return torch.cat(rows, dim=1).T.float().cpu().numpy()


def _patch(run: Endings, writes: Writes, patch: str, means: Constants | None) -> Patch:
    if patch == "corrupt":
        return corrupt_patch(writes)
    return constant_patch(run, writes, zero_writes(writes) if means is None else means)
