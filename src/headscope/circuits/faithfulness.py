"""Faithfulness of circuits: the metric with every other edge patched, per pair and normalised (method section 4)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.circuits.batches import Batch, batches, collate
from headscope.circuits.contrast import Writes, contrast
from headscope.circuits.endings import Endings, endings
from headscope.circuits.objective import Metric, Objective
from headscope.circuits.patches import Constants, Patch, constant_patch, corrupt_patch, mean_writes, zero_writes
from headscope.circuits.patching import patched_logits, tokens_per_pass
from headscope.circuits.record import record
from headscope.circuits.selection import select
from headscope.errors import InputError, suggestion
from headscope.models import HeadAccess, as_model, head_access, name_of
from headscope.pairs import Pairs
from headscope.progress import SILENT, Progress
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import Faithfulness, FaithfulnessCurve

# Fractions of the real edges at which a faithfulness curve is read (method section 4): MIB's, but for the whole graph.
LADDER = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
PATCHES = ("corrupt", "zero", "mean")


def faithfulness(
    model: Any,
    pairs: Pairs,
    circuit: Circuit,
    metric: str | Metric = "kl",
    *,
    patch: str = "corrupt",
    batch: int | None = None,
) -> Faithfulness:
    """Run the circuit alone on ``pairs``: one pass, every other edge patched. Metrics as in ``attribute``.

    patch: what the other edges carry: ``corrupt``, what their source writes on the corrupt text; ``zero``, nothing;
        ``mean``, the mean of what it writes over all tokens of the pairs' clean texts. Zero and mean patch
        every position, also those both texts share. Biases and learned positions belong to no source and stay.
    batch: pairs per pass; None chooses.
    Raises InputError where the circuit's graph is not the model's, the patch is unknown or a metric is not finite.
    """
    table, settings = _measure(model, pairs, [circuit], metric, patch, batch, SILENT)
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
    progress: Progress = SILENT,
) -> FaithfulnessCurve:
    """Faithfulness of the circuits of ``scores`` at several ascending fractions of the real edges, with CPR and CMD.

    As ``faithfulness`` of each, but the clean, corrupt and prefix passes are shared, and circuits run side by side.
    """
    circuits = [select(scores, fraction=fraction) for fraction in fractions]
    table, settings = _measure(model, pairs, circuits, metric, patch, batch, progress)
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
    progress: Progress,
) -> tuple[Float[np.ndarray, "row pair"], dict[str, Any]]:
    """The metric of the whole model, of the empty circuit and of each circuit, and what was measured."""
    plain = as_model(model)
    access = head_access(plain)
    if patch not in PATCHES:
        raise InputError(f"patch {patch!r} is unknown{suggestion(patch, PATCHES)}")
    edges = _edges(model, access, circuits)
    chosen = _batches(pairs, access, patch, batch)
    table = np.zeros((1 + len(edges), len(pairs)), dtype=np.float32)
    with torch.no_grad(), progress.bar("faithfulness", len(pairs)) as bar:
        means = mean_writes(endings(plain, access, one) for one in chosen) if patch == "mean" else None
        for one in chosen:
            run = endings(plain, access, one)
            writes = contrast(run)
            objective = Objective(metric, one, writes.logits[:, 0], writes.logits[:, 1])
            table[0, one.indices] = objective(writes.logits[:, :1])[:, 0].cpu().numpy()
            rows = _circuits(run, writes, objective, _patch(run, writes, patch, means), edges)
            table[1:, one.indices] = np.concatenate([values.T for values in rows])
            bar.advance(len(one.indices))
    return table, record(model, pairs, metric) | {"patch": patch}


def _edges(model: Any, access: HeadAccess, circuits: list[Circuit]) -> Bool[Tensor, "circuit F B"]:
    """The empty circuit's edges and those of each circuit, every query head with its own k and v input."""
    for circuit in circuits:
        if circuit.graph.per_query != access.graph:
            raise InputError(f"circuit of {circuit.graph} does not fit model {name_of(model)} of {access.graph}")
    kept = [np.zeros_like(access.graph.real), *(circuit.graph.unfold(circuit.edges) for circuit in circuits)]
    return torch.as_tensor(np.stack(kept), device=access.device)


def _batches(pairs: Pairs, access: HeadAccess, patch: str, size: int | None) -> list[Batch]:
    """Batches of endings, or of whole texts where positions that both texts share are patched too."""
    if patch == "corrupt":
        return batches(pairs, size, access)
    lengths = [len(text) for text in pairs.clean]
    size = size or max(1, tokens_per_pass(access) // max(lengths))
    groups = [one.indices for one in batches(pairs, size, access)]
    return [collate(pairs, group, access.device, ending=max(lengths[index] for index in group)) for group in groups]


def _patch(run: Endings, writes: Writes, patch: str, means: Constants | None) -> Patch:
    if patch == "corrupt":
        return corrupt_patch(writes)
    return constant_patch(run, writes, zero_writes(writes) if means is None else means)


def _circuits(
    run: Endings, writes: Writes, objective: Objective, patch: Patch, edges: Bool[Tensor, "circuit F B"]
) -> Iterator[Float[np.ndarray, "pair circuit"]]:
    """The metric of every circuit, as many at a time as a pass may hold."""
    for some in torch.split(edges, max(1, tokens_per_pass(run.access) // run.batch.clean.numel())):
        yield objective(patched_logits(run, writes, patch, some)).float().cpu().numpy()
