"""Edge scores of one batch of pairs, at single nodes of the path or integrated over it.

A *row* is one node of one pair. Rows go through the model as many at a time as the budget allows, whatever pairs they
belong to; when memory runs out all the same, half as many from then on.
"""

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache

from headscope.circuits.contrast import Writes, differences
from headscope.circuits.endings import Endings, PrefixLayer
from headscope.circuits.gradients import Reading, readings
from headscope.circuits.means import Means, means_of
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Objective
from headscope.circuits.operands import padded, product
from headscope.circuits.refinement import Refinement
from headscope.measures.quadrature import Quadrature


@dataclass(frozen=True, eq=False)
class _Recorded(Objective):
    """An objective that keeps what it gave."""

    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        values = super().__call__(logits)
        self.seen.append(values.detach())
        return values


class Integrand:
    """Scores of a batch's edges as a function of the node α: what one pass over some rows gives."""

    def __init__(self, run: Endings, writes: Writes, objective: Objective, budget: Budget) -> None:
        self.run, self.writes, self.objective, self.budget = run, writes, objective, budget
        self.graph = run.access.graph
        self._delta: Float[Tensor, "pair source wide"] | None = None

    @property
    def pairs(self) -> int:
        """How many pairs the batch has."""
        return len(self.run.batch.indices)

    @property
    def rows(self) -> int:
        """Rows of a pass."""
        return self.budget.rows(self.run.batch.sizes, self.pairs)

    def integrated(self, rule: Quadrature) -> Float[np.ndarray, "pair F B"]:
        """Scores of all pairs by a fixed rule: gradients are averaged over the nodes of a pair, then contracted."""
        total = np.zeros((self.pairs, *self.graph.real.shape), dtype=np.float32)
        done = 0
        while done < self.pairs:
            block = range(done, min(self.pairs, done + self.rows))
            found = self._over_nodes(block, rule)
            if found is not None:
                total[block.start : block.stop] = found
                done = block.stop
        return total

    def _over_nodes(self, pairs: range, rule: Quadrature) -> Float[np.ndarray, "pair F B"] | None:
        """Scores of some pairs side by side; None where memory ran out for even one node of each."""
        scores = np.zeros((len(pairs), *self.graph.real.shape), dtype=np.float32)
        means, most, done = None, self.budget.nodes(self.run.batch.sizes, len(pairs)), 0
        while done < len(rule.alphas):
            if self.rows < len(pairs):
                return None
            share = slice(done, done + self.rows // len(pairs))
            alphas, weights = rule.alphas[share], rule.weights[share]
            found = self._attempt([pair for pair in pairs for _ in alphas], np.tile(alphas, len(pairs)), weights)
            if found is None:
                continue
            done += len(alphas)
            means = found[0] if means is None else means.add(found[0])
            if means.nodes >= most or done == len(rule.alphas):
                scores += self._contracted(means, list(pairs))
                means = None
        return scores

    def refined(self) -> list[Refinement]:
        """Scores of all pairs by adaptive quadrature, each pair with nodes of its own."""
        epsilon = torch.finfo(self.writes.logits.dtype).eps
        paths = [Refinement(epsilon) for _ in range(self.pairs)]
        while todo := [(pair, alpha) for pair, path in enumerate(paths) for alpha in path.wanted]:
            found = self._at(todo)
            done = 0
            for pair, count in _runs([pair for pair, _ in todo]):
                paths[pair].add(*(np.stack(part) for part in zip(*found[done : done + count], strict=True)))
                done += count
        return paths

    def _at(self, todo: list[tuple[int, float]]) -> list[tuple[Float[np.ndarray, "F B"], np.floating[Any]]]:
        """Scores and losses of single rows, (pair, α)."""
        found: list[tuple[Float[np.ndarray, "F B"], np.floating[Any]]] = []
        while len(found) < len(todo):
            part = todo[len(found) : len(found) + self.rows]
            rows, alphas = [pair for pair, _ in part], np.array([alpha for _, alpha in part])
            passed = self._attempt(rows, alphas, np.ones(1))
            if passed is not None:
                found += zip(self._contracted(passed[0], rows), passed[1], strict=True)
        return found

    def _attempt(
        self, rows: list[int], alphas: Float[np.ndarray, " row"], weights: Float[np.ndarray, " node"]
    ) -> tuple[Means, Float[np.ndarray, " row"]] | None:
        """Means of groups of ``weights``' length, consecutive rows of one pair each, and the losses of all rows.

        None after running out of memory, when fewer rows are to be tried. Raises the error itself for a single row.
        """

        def work() -> tuple[Means, Float[np.ndarray, " row"]]:
            read, losses = self._pass(rows, alphas)
            with torch.no_grad():
                return means_of(self.run.access, read, torch.as_tensor(weights, dtype=torch.float32)), losses

        found = self.budget.limit.attempt(work, len(rows))
        if found is None:
            self._delta = None
        return found

    def _pass(
        self, rows: list[int], alphas: Float[np.ndarray, " row"]
    ) -> tuple[list[Reading], Float[np.ndarray, " row"]]:
        """Forward and backward over rows, which are sorted by pair."""
        runs = _runs(rows)
        counts = {count for _, count in runs}
        # As many nodes of every pair: the cache's rows are shared. Else each row counts as a pair of its own.
        chosen, nodes = ([pair for pair, _ in runs], counts.pop()) if len(counts) == 1 else (rows, 1)
        clean, corrupt = self.writes.embeddings[chosen, 0, None], self.writes.embeddings[chosen, 1, None]
        # In float32 at least: bfloat16 would merge the nodes next to the ends of the path.
        exact = torch.promote_types(clean.dtype, torch.float32)
        at = torch.as_tensor(alphas.reshape(-1, nodes), dtype=exact, device=clean.device)[..., None, None]
        run = _chosen(self.run, chosen)
        objective = _Recorded(
            self.objective.metric, run.batch, self.objective.clean[chosen], self.objective.corrupt[chosen]
        )
        read = readings(run, objective, (corrupt + at * (clean - corrupt)).to(clean.dtype))
        return read, objective.seen[0].flatten().float().cpu().numpy()

    @torch.no_grad()
    def _contracted(self, means: Means, pairs: list[int]) -> Float[np.ndarray, "group F B"]:
        """Σ over positions of Δ_u · ḡ_v, a matrix product per block of destinations and pair; group g is of pairs[g].

        When memory runs out, fewer positions go through at a time from then on.
        """
        sizes = self.run.batch.sizes
        total = np.zeros((len(pairs), *self.graph.real.shape), dtype=np.float32)

        def work(positions: slice) -> Float[np.ndarray, "group F B"]:
            return self._at_positions(means, pairs, positions)

        size = self.budget.positions(sizes, self.pairs, len(pairs), means.nodes)
        for _, found in self.budget.across.parts(sizes.ending, size, work):
            total += found
        return total

    def _at_positions(self, means: Means, pairs: list[int], positions: slice) -> Float[np.ndarray, "group F B"]:
        device = self.writes.embeddings.device
        total = torch.zeros(len(pairs), *self.graph.real.shape, device=device)
        delta = self._differences(positions)
        for block, gradient in means.blocks(positions, delta.dtype):
            depth = int(self.graph.real[:, block.stop - 1].sum())
            read = delta[:, : padded(depth, delta.dtype)]
            _add(total[:, :depth, block.start : block.stop], read, gradient.to(device), pairs)
        return (total * torch.as_tensor(self.graph.real, device=device)).cpu().numpy()

    def _differences(self, positions: slice) -> Float[Tensor, "pair source wide"]:
        """Δ of all sources, positions and widths side by side; kept where it is of the whole ending."""
        whole = positions == slice(0, self.run.batch.ending)
        if self._delta is not None and whole:
            return self._delta
        self._delta = None
        delta = differences(self.run, self.writes, positions, self.budget.footprint.operand).flatten(2)
        self._delta = delta if whole else None
        return delta


def _add(
    total: Float[Tensor, "group depth destination"],
    delta: Float[Tensor, "pair source wide"],
    gradient: Float[Tensor, "row group position d"],
    pairs: list[int],
) -> None:
    """Add one block of destinations: per pair one product of all its groups' gradients with its Δ."""
    depth, destinations = total.shape[1:]
    start = 0
    for pair, count in _runs(pairs):
        own = gradient[:, start : start + count].flatten(2)
        products = torch.unflatten(product(own.flatten(0, 1), delta[pair]), 0, own.shape[:2])
        total[start : start + count] += products[:destinations, :, :depth].permute(1, 2, 0)
        start += count


def _runs(rows: list[int]) -> list[tuple[int, int]]:
    """Each pair of sorted rows with its number of rows."""
    return [(pair, len(list(same))) for pair, same in groupby(rows)]


def _chosen(run: Endings, pairs: list[int]) -> Endings:
    """The same model and prefix caches for some pairs of the batch, or for one pair several times."""
    if pairs == list(range(len(run.batch.indices))):
        return run
    cache = run.cache and Cache(layers=[PrefixLayer(one.keys[pairs], one.values[pairs]) for one in run.cache.layers])
    return replace(run, batch=run.batch.chosen(pairs), cache=cache)
