"""Write one circuit of a run for other programs: from its saved results, without torch or the models."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headscope.errors import InputError, suggestion
from headscope.results.circuit_graph import BORN, KEPT, LOST, CircuitGraph
from headscope.results.circuit_rule import CircuitRule, select_circuit
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.graph_formats import FORMATS
from headscope.results.not_run import NotRun
from headscope.runs import RunDirectory
from headscope.runs.circuit_rules import read_circuit_rule
from headscope.runs.recipes import BASE
from headscope.runs.records import Finished


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
        fraction: of the real edges in both circuits before they are pruned, 0 < fraction ≤ 1; None takes the size in
            which the variant's heads were counted.

    Edges are chosen as the page and the comparison do (``results.circuit_rule``).

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
    return _contents(circuit) | {"as": form, "open": str(out)}


def _contents(circuit: CircuitGraph) -> dict[str, Any]:
    """Return what is in the circuit that was written: edges, heads, and their share of the graph's.

    fraction: of the edges, asked for before those below τ and loose ends were left out. share: in the circuit.
    """
    edges, total = int(circuit.edges.sum()), int(circuit.graph.real.sum())
    heads = circuit.graph.head_grid(np.any(circuit.edges, axis=1))
    contents = {"circuit": circuit.title, "edges": edges, "of": total, "share": edges / total}
    contents |= {"heads": int(heads.sum()), "of_heads": heads.size, "fraction": circuit.facts["fraction"]}
    contents |= {"tau": circuit.facts["tau"]}
    faithfulness = {"faithfulness", "low", "high", "problems"} & circuit.facts.keys()
    contents |= {name: circuit.facts[name] for name in sorted(faithfulness)}
    if circuit.base_edges is not None:
        statuses = Counter(edge.status for edge in circuit.listed)
        contents |= {"base_edges": int(circuit.base_edges.sum())}
        contents |= {status: statuses[status] for status in (KEPT, BORN, LOST)}
    return contents


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
        steps = sorted({*trained, *([0] if base is not None else [])})
        raise InputError(f"step {chosen} of {variant} has no scores; allowed: {', '.join(map(str, steps))}")
    rule = read_circuit_rule(run, variant)
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise InputError(f"found fraction={fraction}; give a share of the edges above 0 and up to 1")
        rule = replace(rule, fraction=fraction)
    if rule.fraction is None and rule.edges is None:
        raise InputError(f"{run} does not say how large circuits of {variant} are yet; give --fraction")
    before = base if base is not None and post is not base else None
    return _graph(run, post, before, rule)


def _graph(
    run: RunDirectory, post: Finished[EdgeScores], base: Finished[EdgeScores] | None, rule: CircuitRule
) -> CircuitGraph:
    scores, before = post.read(), None if base is None else base.read()
    if before is not None and before.graph != scores.graph:
        before = None  # of another architecture: no edge of one is an edge of the other
    graph, labels = scores.graph, post.labels
    count = rule.count(graph)
    assert count is not None
    fraction = graph.edge_share(count) if rule.fraction is None else rule.fraction
    made_with = {key: value for key, value in scores.settings.items() if isinstance(value, str | int | float)}
    made_with |= {"pairs": scores.problem_groups.size.short}
    name = labels["variant"]
    if labels["model"] == BASE:
        name = BASE
    elif labels["step"]:
        name = f"{name} at step {labels['step']}"
    return CircuitGraph(
        graph.per_query,
        graph.unfold(scores.edges),
        graph.unfold(select_circuit(graph, scores.edges_abs, count, rule.tau)),
        f"{run.lock()['study']['name']}: circuit of {name}",
        {"fraction": fraction, "tau": rule.tau} | _faithfulness(run, labels, fraction) | made_with,
        None if before is None else graph.unfold(before.edges),
        None if before is None else graph.unfold(select_circuit(graph, before.edges_abs, count, rule.tau)),
    )


def _faithfulness(run: RunDirectory, labels: Mapping[str, Any], fraction: float) -> dict[str, str | int | float]:
    """Return how faithful the circuit is, with its interval, if that was measured at this size."""
    for unit in run.results(FaithfulnessEstimates, **labels):
        estimate = None if isinstance(unit.result, NotRun) else unit.result.at(fraction)
        if estimate is not None:
            return {
                "faithfulness": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "problems": estimate.n,
            }
    return {}


def _scores(run: RunDirectory, variant: str) -> list[Finished[EdgeScores]]:
    names = [named["name"] for named in run.lock()["study"]["variants"]]
    if variant not in names:
        raise InputError(f"variant {variant!r} is not in {run}{suggestion(variant, names)}")
    units = run.results(EdgeScores, variant=variant, pairs="main")
    return [unit for unit in units if not (unit.folder / NotRun.file).exists()]
