"""Integrate the edge scores of one batch of pairs over the path from the corrupt to the clean embedding.

A *row* is one node of one pair. As many rows as the budget allows are run at a time, of any pairs; if
memory runs out, half as many from then on.
"""

from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache

from headscope.circuits.adaptive_quadrature import AdaptiveQuadrature
from headscope.circuits.budget import Budget
from headscope.circuits.contraction import pad_count, product
from headscope.circuits.gradient_means import GradientMeans, average_gradients
from headscope.circuits.gradients import Reading, read_gradients
from headscope.circuits.objective import Objective
from headscope.circuits.prefix_cache import EndingRunner, PrefixLayer
from headscope.circuits.source_deltas import SourceWrites, source_deltas
from headscope.measures.quadrature import Quadrature


@dataclass(frozen=True, eq=False)
class _RecordingObjective(Objective):
    """An objective that records the losses it computed."""

    losses_given: list[Tensor] = field(default_factory=list)

    def __call__(self, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        losses = super().__call__(logits)
        self.losses_given.append(losses.detach())
        return losses


@dataclass(frozen=True, eq=False)
class NodeRun:
    """The results of one pass over rows.

    means: gradient means of groups of consecutive rows.
    losses: of all rows.
    slopes: −dL/dα of all rows, the sums of the input's edges' scores; None unless the integrand has slopes.
    """

    means: GradientMeans
    losses: Float[np.ndarray, " row"]
    slopes: Float[np.ndarray, " row"] | None


class Integrand:
    """Scores of a batch's edges as a function of the node α, computed in passes over rows.

    has_slopes: whether passes differentiate back to the embeddings and give −dL/dα too.
    """

    def __init__(
        self,
        runner: EndingRunner,
        writes: SourceWrites,
        objective: Objective,
        budget: Budget,
        *,
        has_slopes: bool = False,
    ) -> None:
        self.runner, self.writes, self.objective, self.budget = runner, writes, objective, budget
        self.has_slopes = has_slopes
        self.graph = runner.access.graph
        # Δ of the whole ending, kept between passes over nodes, which all contract with it.
        self._delta: Float[Tensor, "pair source wide"] | None = None

    @property
    def pairs(self) -> int:
        """Return how many pairs the batch has."""
        return len(self.runner.batch.indices)

    @property
    def rows(self) -> int:
        """Return how many rows a pass may have."""
        return self.budget.rows(self.runner.batch.sizes, self.pairs)

    def integrate(self, rule: Quadrature) -> Float[np.ndarray, "pair F B"]:
        """Return scores of all pairs by a fixed rule: gradients are averaged over a pair's nodes, then contracted."""
        total = np.zeros((self.pairs, *self.graph.real.shape), dtype=np.float32)
        start = 0
        while start < self.pairs:
            # As many pairs as a pass holds of one node each; more nodes of them follow in further passes.
            pairs = range(start, min(self.pairs, start + self.rows))
            scores = self._integrate_pairs(pairs, rule)
            if scores is not None:
                total[pairs.start : pairs.stop] = scores
                start = pairs.stop
        return total

    def _integrate_pairs(self, pairs: range, rule: Quadrature) -> Float[np.ndarray, "pair F B"] | None:
        """Return scores of some pairs side by side; None if memory ran out with one node of each."""
        scores = np.zeros((len(pairs), *self.graph.real.shape), dtype=np.float32)
        most_nodes = self.budget.nodes(self.runner.batch.sizes, len(pairs))
        means: GradientMeans | None = None
        start = 0
        while start < len(rule.alphas):
            if self.rows < len(pairs):
                return None
            nodes = slice(start, start + self.rows // len(pairs))
            alphas = rule.alphas[nodes]
            rows = [pair for pair in pairs for _ in alphas]
            result = self._attempt(rows, np.tile(alphas, len(pairs)), rule.weights[nodes])
            if result is None:
                continue
            start += len(alphas)
            means = result.means if means is None else means.add(result.means)
            # As late as memory allows: a contraction of many nodes' mean costs little more than that of one.
            if means.nodes >= most_nodes or start == len(rule.alphas):
                scores += self.contract(means, list(pairs))
                means = None
        return scores

    @property
    def epsilon(self) -> float:
        """Return the epsilon of the type the model computes in."""
        return torch.finfo(self.writes.logits.dtype).eps

    def integrate_adaptively(self, tolerance: float) -> list[AdaptiveQuadrature]:
        """Return the paths of all pairs, each integrated to ``tolerance`` with its own nodes."""
        paths = [AdaptiveQuadrature(self.epsilon, tolerance) for _ in range(self.pairs)]
        while rows := [(pair, alpha) for pair, path in enumerate(paths) for alpha in path.next_alphas]:
            scores, losses = self._evaluate(rows)
            start = 0
            for pair, count in _run_lengths([pair for pair, _ in rows]):
                paths[pair].add(np.stack(scores[start : start + count]), np.array(losses[start : start + count]))
                start += count
        return paths

    def _evaluate(self, rows: list[tuple[int, float]]) -> tuple[list[Float[np.ndarray, "F B"]], list[float]]:
        """Return scores and losses of single rows, (pair, α)."""
        scores: list[Float[np.ndarray, "F B"]] = []
        losses: list[float] = []
        while len(scores) < len(rows):
            part = rows[len(scores) : len(scores) + self.rows]
            result = self.run_rows(part)
            if result is not None:
                scores += list(self.contract(result.means, [pair for pair, _ in part]))
                losses += result.losses.tolist()
        return scores, losses

    def run_rows(self, rows: list[tuple[int, float]]) -> NodeRun | None:
        """Return one pass over single rows, (pair, α), sorted by pair; None if memory ran out."""
        return self._attempt([pair for pair, _ in rows], np.array([alpha for _, alpha in rows]), np.ones(1))

    def _attempt(
        self, rows: list[int], alphas: Float[np.ndarray, " row"], weights: Float[np.ndarray, " node"]
    ) -> NodeRun | None:
        """Return gradient means of groups of consecutive rows, and losses and slopes of all rows.

        A group is as many rows of one pair as there are ``weights``. None if memory ran out and fewer rows can be
        tried; for a single row the error is raised.
        """

        def work() -> NodeRun:
            readings, losses, slopes = self._pass(rows, alphas)
            with torch.no_grad():
                # Float32: the weights multiply gradients, which are averaged in float32 for every model dtype.
                node_weights = torch.as_tensor(weights, dtype=torch.float32)
                return NodeRun(average_gradients(self.runner.access, readings, node_weights), losses, slopes)

        result = self.budget.row_limit.attempt(work, len(rows))
        if result is None:
            self._delta = None  # room for the next attempt; it is computed again when needed
        return result

    def _pass(
        self, rows: list[int], alphas: Float[np.ndarray, " row"]
    ) -> tuple[list[Reading], Float[np.ndarray, " row"], Float[np.ndarray, " row"] | None]:
        """Run forward and backward over rows, sorted by pair; return readings, losses and slopes."""
        runs = _run_lengths(rows)
        pairs, nodes = rows, 1
        if len({count for _, count in runs}) == 1:
            # As many nodes of every pair, so they share the cache's rows; else each row counts as a pair of its own.
            pairs, nodes = [pair for pair, _ in runs], runs[0][1]
        embeddings = self.writes.embeddings[pairs]
        # In float32 at least: bfloat16 would merge the nodes next to the ends of the path, and round its direction.
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        clean, corrupt = embeddings.to(dtype)[:, :, None].unbind(1)
        alpha = torch.as_tensor(alphas.reshape(-1, nodes), dtype=dtype, device=clean.device)[..., None, None]
        runner = _take_pairs(self.runner, pairs)
        objective = _RecordingObjective(
            self.objective.metric,
            runner.batch,
            self.objective.clean_logits[pairs],
            self.objective.corrupt_logits[pairs],
        )
        nodes_on_path = (corrupt + alpha * (clean - corrupt)).to(embeddings.dtype)
        readings, gradient = read_gradients(runner, objective, nodes_on_path, of_embeddings=self.has_slopes)
        losses = objective.losses_given[0].flatten().float().cpu().numpy()
        if gradient is None:
            return readings, losses, None
        slopes = ((corrupt - clean) * gradient).sum(dim=(-2, -1))
        return readings, losses, slopes.flatten().cpu().numpy()

    @torch.no_grad()
    def contract(self, means: GradientMeans, pairs: list[int]) -> Float[np.ndarray, "group F B"]:
        """Return Σ over positions of Δ_u · ḡ_v, a matrix product per block of destinations and pair.

        Group g of the means belongs to ``pairs[g]``. If memory runs out, fewer positions are contracted at a time.
        """
        sizes = self.runner.batch.sizes
        total = np.zeros((len(pairs), *self.graph.real.shape), dtype=np.float32)

        def work(positions: slice) -> Float[np.ndarray, "group F B"]:
            return self._contract_positions(means, pairs, positions)

        size = self.budget.positions(sizes, self.pairs, len(pairs), means.nodes)
        for _, scores in self.budget.position_limit.run_parts(sizes.ending, size, work):
            total += scores
        return total

    def _contract_positions(
        self, means: GradientMeans, pairs: list[int], positions: slice
    ) -> Float[np.ndarray, "group F B"]:
        device = self.writes.embeddings.device
        total = torch.zeros(len(pairs), *self.graph.real.shape, dtype=torch.float32, device=device)
        delta = self._deltas(positions)
        for block, gradient in means.blocks(positions, delta.dtype):
            # Sources come in the order of layers, so a block reads the first ``depth`` of them; what its earlier
            # destinations do not read is zeroed at the end.
            depth = int(self.graph.real[:, block.stop - 1].sum())
            sources = delta[:, : pad_count(depth, delta.dtype)]
            _add_products(total[:, :depth, block.start : block.stop], sources, gradient.to(device), pairs)
        return (total * torch.as_tensor(self.graph.real, device=device)).cpu().numpy()

    def _deltas(self, positions: slice) -> Float[Tensor, "pair source wide"]:
        """Return Δ of all sources, positions and widths side by side; cached if it covers the whole ending."""
        is_whole = positions == slice(0, self.runner.batch.ending)
        if self._delta is not None and is_whole:
            return self._delta
        self._delta = None  # freed before the new one is made
        dtype = self.budget.footprint.contraction_dtype
        delta = source_deltas(self.runner.access, self.writes, positions, dtype).flatten(2)
        self._delta = delta if is_whole else None
        return delta


def _add_products(
    total: Float[Tensor, "group depth destination"],
    delta: Float[Tensor, "pair source wide"],
    gradient: Float[Tensor, "row group position d"],
    pairs: list[int],
) -> None:
    """Add one block of destinations: per pair one product of all its groups' gradients with its Δ."""
    depth, destinations = total.shape[1:]
    start = 0
    for pair, count in _run_lengths(pairs):
        # [destination, group, position × d]: all of a pair's groups go through one product.
        factor = gradient[:, start : start + count].flatten(2)
        products = torch.unflatten(product(factor.flatten(0, 1), delta[pair]), 0, factor.shape[:2])
        total[start : start + count] += products[:destinations, :, :depth].permute(1, 2, 0)
        start += count


def _run_lengths(rows: list[int]) -> list[tuple[int, int]]:
    """Return each pair of sorted rows with its number of rows."""
    return [(pair, len(list(group))) for pair, group in groupby(rows)]


def _take_pairs(runner: EndingRunner, pairs: list[int]) -> EndingRunner:
    """Return the runner of some pairs of the batch, or of one pair several times: same model, same prefixes."""
    if pairs == list(range(len(runner.batch.indices))):
        return runner
    cache = runner.cache
    if cache is not None:
        cache = Cache(layers=[PrefixLayer(layer.keys[pairs], layer.values[pairs]) for layer in cache.layers])
    return replace(runner, batch=runner.batch.take(pairs), cache=cache)
