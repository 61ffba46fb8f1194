"""Integrate with nodes placed by the slope of the loss alone, so that a pair is contracted once and not per node.

1. Every pass gives −dL/dα of its rows at no cost; from it ``AdaptiveQuadrature.of_slopes`` chooses a pair's next nodes
   and decides when there are enough. The rows' readings are kept meanwhile.
2. Then the weights of a pair's nodes are known, and its weighted mean gradient is contracted with Δ.

If the readings would take more memory than allowed, further rows are contracted one by one, and their matrices kept.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from headscope.circuits.adaptive_quadrature import AdaptiveQuadrature
from headscope.circuits.gradient_means import GradientMeans
from headscope.circuits.integration import Integrand


@dataclass(frozen=True, eq=False)
class SlopePath:
    """One pair's integral.

    scores: edge scores [F, B]. nodes: number of nodes run. path: quadrature of the slopes, with its estimated error.
    """

    scores: Float[np.ndarray, "F B"]
    nodes: int
    path: AdaptiveQuadrature


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass whose rows wait for their weights: their readings, or their matrices.

    rows: (pair, α) of each. means: one group per row; None if there are matrices.
    """

    rows: list[tuple[int, float]]
    means: GradientMeans | None
    matrices: list[Float[np.ndarray, "F B"]]


def integrate_by_slopes(integrand: Integrand, tolerance: float) -> list[SlopePath]:
    """Return every pair's integral to about ``tolerance`` of its norm; the integrand must have slopes.

    KL has its minimum at the clean text, so the scores at α = 1 are 0 and that node is not run.
    """
    paths = [AdaptiveQuadrature.of_slopes(integrand.epsilon, tolerance) for _ in range(integrand.pairs)]
    results: dict[int, SlopePath] = {}
    passes: list[_Pass] = []
    at_clean = _known_at_clean(integrand)
    nodes = [0] * len(paths)
    while rows := [(pair, float(alpha)) for pair, path in enumerate(paths) for alpha in path.next_alphas]:
        values = {row: at_clean[row] for row in rows if row in at_clean}
        values |= _run(integrand, [row for row in rows if row not in values], passes)
        settled = []
        for pair, path in enumerate(paths):
            new_rows = [(pair, float(alpha)) for alpha in path.next_alphas]
            if not new_rows:
                continue
            losses, slopes = np.array([values[row] for row in new_rows]).T
            path.add(slopes[:, None, None], losses)
            nodes[pair] += sum(row not in at_clean for row in new_rows)
            if not len(path.next_alphas):
                settled.append(pair)
        for pair, scores in zip(settled, _contract(integrand, settled, paths, passes), strict=True):
            results[pair] = SlopePath(scores, nodes[pair], paths[pair])
        passes = [run for run in passes if any(pair not in results for pair, _ in run.rows)]
    return [results[pair] for pair in range(len(paths))]


def _known_at_clean(integrand: Integrand) -> dict[tuple[int, float], tuple[float, float]]:
    """Return loss and slope of the rows whose result is known without a pass."""
    if integrand.objective.metric != "kl":
        return {}
    losses = integrand.objective.losses(integrand.writes.logits)[:, 0]
    return {(pair, 1.0): (float(loss), 0.0) for pair, loss in enumerate(losses)}


def _run(
    integrand: Integrand, rows: list[tuple[int, float]], passes: list[_Pass]
) -> dict[tuple[int, float], tuple[float, float]]:
    """Return loss and slope of each row; add the passes with their readings to ``passes``."""
    values: dict[tuple[int, float], tuple[float, float]] = {}
    start = 0
    while start < len(rows):
        part = rows[start : start + integrand.rows]
        run = integrand.run_rows(part)
        if run is None:
            continue
        start += len(part)
        assert run.slopes is not None
        values |= dict(zip(part, zip(run.losses.tolist(), run.slopes.tolist(), strict=True), strict=True))
        waiting_rows = sum(len(run.rows) for run in passes if run.means is not None)
        if waiting_rows + len(part) <= integrand.budget.held_rows(integrand.runner.batch.sizes, integrand.pairs):
            passes.append(_Pass(part, run.means, []))
        else:
            passes.append(_Pass(part, None, list(integrand.contract(run.means, [pair for pair, _ in part]))))
    return values


@torch.no_grad()
def _contract(
    integrand: Integrand, pairs: list[int], paths: list[AdaptiveQuadrature], passes: list[_Pass]
) -> Float[np.ndarray, "pair F B"]:
    """Return Σ over nodes of weight · score of some pairs."""
    total = np.zeros((len(pairs), *integrand.graph.real.shape), dtype=np.float32)
    weights = {}
    for pair in pairs:
        for alpha, weight in zip(paths[pair].alphas.tolist(), paths[pair].weights.tolist(), strict=True):
            weights[pair, alpha] = weight
    means: GradientMeans | None = None
    for run in passes:
        places = [[place for place, (owner, _) in enumerate(run.rows) if owner == pair] for pair in pairs]
        if run.means is None:
            for group, matrices in enumerate(places):
                for place in matrices:
                    total[group] += np.float32(weights[run.rows[place]]) * run.matrices[place]
        elif width := max(map(len, places), default=0):
            rows = torch.tensor([[*row, *[0] * (width - len(row))] for row in places])
            of_rows = [[weights[run.rows[place]] for place in row] + [0.0] * (width - len(row)) for row in places]
            weighed = run.means.weigh(rows, torch.tensor(of_rows, dtype=torch.float32))
            means = weighed if means is None else means.add(weighed)
    return total if means is None else total + integrand.contract(means, pairs)
