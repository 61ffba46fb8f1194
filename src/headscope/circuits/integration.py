"""Edge scores of one batch of pairs, at single nodes of the path or integrated over it.

A *row* is one node of one pair. Rows go through the model as many at a time as the budget allows, whatever pairs they
belong to; when memory runs out all the same, half as many from then on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache

from headscope.circuits.contrast import Writes, differences
from headscope.circuits.endings import Endings, PrefixLayer
from headscope.circuits.gradients import Reading, head_gradients, readings, stream_gradient
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Objective
from headscope.circuits.quadrature import Quadrature
from headscope.circuits.refinement import Refinement


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
        """Scores of all pairs by a fixed rule: gradients are averaged over the nodes of a pass, then contracted."""
        total = np.zeros((self.pairs, *self.graph.real.shape), dtype=np.float32)
        todo = [(range(self.pairs), range(len(rule.alphas)))]
        while todo:
            pairs, nodes = todo.pop()
            block, share = pairs[: self.rows], nodes[: max(1, self.rows // len(pairs))]
            todo += [(block, nodes[len(share) :])] if len(share) < len(nodes) else []
            todo += [(pairs[len(block) :], nodes)] if len(block) < len(pairs) else []
            rows = [pair for pair in block for _ in share]
            alphas, weights = rule.alphas[share.start : share.stop], rule.weights[share.start : share.stop]
            found = self._attempt(rows, np.tile(alphas, len(block)), weights)
            if found is None:
                todo.append((block, share))
            else:
                total[block.start : block.stop] += found[0]
        return total

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

    def _at(self, todo: list[tuple[int, float]]) -> list[tuple[Float[np.ndarray, "F B"], np.float32]]:
        """Scores and losses of single rows, (pair, α)."""
        found: list[tuple[Float[np.ndarray, "F B"], np.float32]] = []
        while len(found) < len(todo):
            part = todo[len(found) : len(found) + self.rows]
            rows, alphas = [pair for pair, _ in part], np.array([alpha for _, alpha in part])
            passed = self._attempt(rows, alphas, np.ones(1))
            if passed is not None:
                found += zip(*passed, strict=True)
        return found

    def _attempt(
        self, rows: list[int], alphas: Float[np.ndarray, " row"], weights: Float[np.ndarray, " node"]
    ) -> tuple[Float[np.ndarray, "group F B"], Float[np.ndarray, " row"]] | None:
        """Scores of groups of ``weights``' length, consecutive rows of one pair each, and the losses of all rows.

        None after running out of memory, when fewer rows are to be tried. Raises the error itself for a single row.
        """

        def work() -> tuple[Float[np.ndarray, "group F B"], Float[np.ndarray, " row"]]:
            read, losses = self._pass(rows, alphas)
            weighted = torch.as_tensor(weights, dtype=torch.float32)
            return self._contracted(read, rows[:: len(weights)], weighted), losses

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
    def _contracted(
        self, read: list[Reading], pairs: list[int], weights: Float[Tensor, " node"]
    ) -> Float[np.ndarray, "group F B"]:
        """Σ over positions of Δ_u · ḡ_v, a matrix product per destination layer and pair; group g is of pairs[g]."""
        device = self.writes.embeddings.device
        total = torch.zeros(len(pairs), *self.graph.real.shape, device=device)
        ending = self.run.batch.ending
        size = self.budget.positions(self.run.batch.sizes, self.pairs, len(pairs), len(weights))
        for start in range(0, ending, size):
            positions = slice(start, min(start + size, ending))
            delta = self._differences(positions)
            for first, gradient in self._gradients(read, weights, positions):
                depth = int(self.graph.real[:, first].sum())
                _add(total[:, :depth, first : first + len(gradient)], delta[:, :depth], gradient.to(device), pairs)
        return (total * torch.as_tensor(self.graph.real, device=device)).cpu().numpy()

    def _differences(self, positions: slice) -> Float[Tensor, "pair source wide"]:
        """Δ of all sources, positions and widths side by side; kept where it is of the whole ending."""
        if self._delta is not None and positions == slice(0, self.run.batch.ending):
            return self._delta
        self._delta = None
        delta = differences(self.run, self.writes, positions).transpose(0, 1).flatten(2)
        if positions == slice(0, self.run.batch.ending):
            self._delta = delta
        return delta

    def _gradients(
        self, read: list[Reading], weights: Float[Tensor, " node"], positions: slice
    ) -> Iterator[tuple[int, Float[Tensor, "reader group position d"]]]:
        """First destination and gradients of every block of destinations."""
        access = self.run.access
        for layer, blocks in enumerate(access.layers):
            yield self.graph.port(layer, "q"), head_gradients(access, layer, read[2 * layer], weights, positions)
            mlp = stream_gradient(access, blocks.mlp_norm, read[2 * layer + 1], weights, positions)
            yield self.graph.mlp_destination(layer), mlp[None]
        last = stream_gradient(access, access.final_norm, read[-1], weights, positions)
        yield len(self.graph.destinations) - 1, last[None]


def _add(
    total: Float[Tensor, "group depth reader"],
    delta: Float[Tensor, "pair depth wide"],
    gradient: Float[Tensor, "reader group position d"],
    pairs: list[int],
) -> None:
    """Add one block of destinations: per pair one product of all its groups' gradients with its Δ."""
    start = 0
    for pair, count in _runs(pairs):
        own = gradient[:, start : start + count].flatten(2)
        products = own.flatten(0, 1) @ delta[pair].T
        total[start : start + count] += torch.unflatten(products, 0, own.shape[:2]).permute(1, 2, 0)
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
