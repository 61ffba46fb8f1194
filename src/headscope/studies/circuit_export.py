"""Write one circuit of a run for other programs: from its saved results, without torch or the models."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from headscope.errors import InputError, suggestion
from headscope.measures.selection import above_threshold, top_fraction
from headscope.results.circuit_graph import BORN, KEPT, LOST, CircuitGraph
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.graph_formats import FORMATS
from headscope.results.not_run import NotRun
from headscope.results.pruning import prune
from headscope.runs import RunDirectory
from headscope.runs.records import Finished

BASE = "base"


def export_circuit(
    run: RunDirectory,
    variant: str,
    form: str,
    out: Path,
    *,
    step: int | None = None,
    fraction: float | None = None,
) -> dict[str, Any]:
    """Write the circuit of a variant, next to that of the base on the same pairs, and return what was written.

    Args:
        run: the run.
        variant: its name in the study.
        form: one of ``graph_formats.FORMATS``.
        out: the file.
        step: of the checkpoint; None takes the last. 0 is the base, on this variant's pairs.
        fraction: of the real edges in both circuits, 0 < fraction ≤ 1; None takes the size in which the variant's heads
            were counted.

    Edges are ranked by the mean of |score| over pairs and pruned, as in ``circuits.select``.

    Raises:
        InputError: if there is no such form, variant, step or folder, the scores are not there, or the fraction is not
            in its range.
    """
    if form not in FORMATS:
        raise InputError(f"format {form!r} does not exist{suggestion(form, FORMATS)}")
    if not out.parent.is_dir() or out.is_dir():
        fault = "is a folder" if out.is_dir() else f"lies in {out.parent}, which does not exist"
        raise InputError(f"--out {out} {fault}; name a file in a folder that exists")
    circuit = read_circuit(run, variant, step, fraction)
    FORMATS[form](circuit, out)
    statuses = Counter(edge.status for edge in circuit.listed)
    counts = {} if circuit.base_edges is None else {status: statuses[status] for status in (KEPT, BORN, LOST)}
    sizes = {"edges": int(circuit.edges.sum()), "fraction": circuit.facts["fraction"], **counts}
    return {"circuit": circuit.title, "as": form, **sizes, "open": str(out)}


def read_circuit(run: RunDirectory, variant: str, step: int | None, fraction: float | None) -> CircuitGraph:
    """Return a variant's circuit next to the base's. Arguments and errors as in ``export_circuit``."""
    units = _scores(run, variant)
    trained = {int(unit.labels["step"]): unit for unit in units if unit.labels["model"] != BASE}
    base = next((unit for unit in units if unit.labels["model"] == BASE), None)
    if step is None and not trained:
        raise InputError(f"{run} has no finished scores of {variant}; run the study, or give --step 0 for the base")
    chosen = max(trained) if step is None else step
    post = base if chosen == 0 and base is not None and 0 not in trained else trained.get(chosen)
    if post is None:
        there = sorted({*trained, *([0] if base is not None else [])})
        raise InputError(f"step {chosen} of {variant} has no scores; allowed: {', '.join(map(str, there))}")
    counted, tau = _size(run, variant)
    share = counted if fraction is None else fraction
    if share is None:
        raise InputError(f"{run} does not say how large circuits of {variant} are yet; give --fraction")
    before = base if base is not None and post is not base else None
    return _graph(run, post, before, _Size(share, tau))


@dataclass(frozen=True, slots=True)
class _Size:
    """fraction: of the real edges in a circuit. tau: the least |score| of an edge in it."""

    fraction: float
    tau: float


def _graph(
    run: RunDirectory, post: Finished[EdgeScores], base: Finished[EdgeScores] | None, size: _Size
) -> CircuitGraph:
    scores, before = post.read(), None if base is None else base.read()
    if before is not None and before.graph != scores.graph:
        before = None  # of another architecture: no edge of one is an edge of the other
    graph, labels = scores.graph, post.labels
    made_with = {key: value for key, value in scores.settings.items() if isinstance(value, str | int | float)}
    made_with |= {"pairs": scores.problem_groups.size.short}
    step = labels["step"]
    name = BASE if labels["model"] == BASE else f"{labels['variant']} at step {step}" if step else labels["variant"]
    return CircuitGraph(
        graph.per_query,
        graph.unfold(scores.edges),
        graph.unfold(_select(scores, size)),
        f"{run.lock()['study']['name']}: circuit of {name}",
        {"fraction": size.fraction, "tau": size.tau} | _faithfulness(run, labels, size.fraction) | made_with,
        None if before is None else graph.unfold(before.edges),
        None if before is None else graph.unfold(_select(before, size)),
    )


def _faithfulness(run: RunDirectory, labels: Mapping[str, Any], fraction: float) -> dict[str, str | int | float]:
    """Return how faithful the circuit is, with its interval, if that was measured at this size."""
    for unit in run.results(FaithfulnessEstimates, **labels):
        estimate = None if isinstance(unit.result, NotRun) else unit.result.at(fraction)
        if estimate is not None:
            return {"faithfulness": estimate.value, "low": estimate.low, "high": estimate.high}
    return {}


def _scores(run: RunDirectory, variant: str) -> list[Finished[EdgeScores]]:
    names = [named["name"] for named in run.lock()["study"]["variants"]]
    if variant not in names:
        raise InputError(f"variant {variant!r} is not in {run}{suggestion(variant, names)}")
    units = run.results(EdgeScores, variant=variant, pairs="main")
    return [unit for unit in units if not (unit.folder / NotRun.file).exists()]


def _size(run: RunDirectory, variant: str) -> tuple[float | None, float]:
    """Return the share of edges in which a variant's heads were counted, None if that is not known, and τ."""
    for unit in run.results(Comparison, variant=variant):
        if not isinstance(unit.result, NotRun):
            return unit.result.final.fraction, unit.result.final.tau
    discover = run.lock()["study"]["discover"]
    return discover.get("fraction"), float(discover.get("tau") or 0.0)


def _select(scores: EdgeScores, size: _Size) -> Bool[np.ndarray, "F B"]:
    """Return the pruned circuit: the strongest edges, none of score 0, which carry nothing."""
    strongest = top_fraction(scores.graph, scores.edges_abs, size.fraction) & (scores.edges_abs > 0)
    return prune(scores.graph, strongest & above_threshold(scores.graph, scores.edges_abs, size.tau))
