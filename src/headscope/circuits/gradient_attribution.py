"""EAP and EAP-IG: score edges by gradients, on a plain Hugging Face model (method section 3).

1. Pairs of similar lengths share a batch; its prefixes are run once (``batches``, ``prefix_cache``).
2. One pass over clean and corrupt endings gives Δ of every source (``source_deltas``).
3. Forward and backward over quadrature nodes give the gradients at every destination (``gradients``): a fixed
   number of nodes for all pairs, or adaptive nodes for each pair (``quadrature``, ``adaptive_quadrature``).
4. One matrix product per destination layer contracts the two over positions and width, per pair (``integration``).
5. Adaptive nodes make the integration error small compared with the sampling error over pairs (``error_ratio``):
   all pairs are integrated to a few per cent (``slope_guided``); while that is not small enough, the pairs with the
   largest errors are integrated again, in the end all of them to 1 %.

Source: Hanna, Pezzelle, Belinkov, "Have Faith in Faithfulness", arXiv 2403.17806. Sign as there: positive when
corrupting the edge raises the loss.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedModel

from headscope.circuits.adaptive_quadrature import TOLERANCE, AdaptiveNodes, AdaptiveQuadrature
from headscope.circuits.batch_scores import BatchScores, PathErrors
from headscope.circuits.batches import EXPECTED_ROWS_PER_PAIR, collate
from headscope.circuits.budget import Budget, attribution_budget
from headscope.circuits.error_ratio import LARGEST_ERROR_RATIO, error_ratio, first_tolerance
from headscope.circuits.frozen_model import frozen_model
from headscope.circuits.integration import Integrand
from headscope.circuits.objective import Metric, Objective, check_clean_gradient, provenance
from headscope.circuits.options import AttributionOptions
from headscope.circuits.prefix_cache import cache_prefix
from headscope.circuits.scored_graph import scored_graph
from headscope.circuits.slope_guided import integrate_by_slopes
from headscope.circuits.source_deltas import record_writes
from headscope.errors import InputError
from headscope.measures.quadrature import AT_CLEAN, Quadrature
from headscope.models import HeadAccess, Subject, as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import Bar, Progress
from headscope.results.edges import EdgeScores


def eap(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "nll",
    options: AttributionOptions = AttributionOptions(),
) -> EdgeScores:
    """Score edges by the gradient at the clean embedding. Arguments and errors are those of ``attribute``.

    Raises InputError for metric ``kl`` too, whose gradient is 0 there.
    """
    check_clean_gradient(metric)
    return _score_edges(model, pairs, _AttributionRequest("eap", metric, AT_CLEAN, options))


def eap_ig(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "kl",
    options: AttributionOptions = AttributionOptions(),
    *,
    quadrature: Quadrature | AdaptiveNodes = AdaptiveNodes(),
) -> EdgeScores:
    """Score edges by the gradient integrated from the corrupt to the clean embedding.

    quadrature: a fixed rule for all pairs, or adaptive nodes. Other arguments and errors are those of ``attribute``.
    """
    return _score_edges(model, pairs, _AttributionRequest("eap-ig", metric, quadrature, options))


_NEGLIGIBLE = 1e-6
"""Of the metric's change on the corrupt text: scores below this share of it are rounding."""


@dataclass(frozen=True)
class _AttributionRequest:
    """The settings that are the same for every batch.

    quadrature: a fixed rule for all pairs, or adaptive nodes. by_slopes: place adaptive nodes by the loss's slope
    alone.
    """

    method: str
    metric: str | Metric
    quadrature: Quadrature | AdaptiveNodes
    options: AttributionOptions
    by_slopes: bool = False

    @property
    def nodes(self) -> int:
        """Return the number of nodes per pair for which memory is planned."""
        return len(self.quadrature.alphas) if isinstance(self.quadrature, Quadrature) else EXPECTED_ROWS_PER_PAIR


@dataclass(frozen=True, eq=False)
class _Scorer:
    """A model and its pairs, scored one or more times within one memory budget."""

    model: PreTrainedModel
    access: HeadAccess
    pairs: Pairs
    budget: Budget
    progress: Progress

    def score(self, request: _AttributionRequest, indices: list[int], label: str = "attribute") -> list[BatchScores]:
        """Return the scores of some pairs, batch by batch."""
        chosen = self.pairs if len(indices) == len(self.pairs) else self.pairs[indices]
        with self.progress.bar(label, len(indices)) as bar:

            def score_group(group: list[int], bar: Bar) -> BatchScores:
                scores = _score_batch(self.model, self.access, chosen, group, request, self.budget)
                bar.advance(len(group))
                return replace(scores, indices=tuple(indices[index] for index in scores.indices))

            return self.budget.over_pairs(chosen, score_group, bar)

    def score_until_precise(self, request: _AttributionRequest) -> tuple[list[BatchScores], float]:
        """Return scores of all pairs with an integration error small compared with the sampling error over pairs.

        The second value is the final tolerance. Neither depends on the order of pairs or on their batches.
        """
        graph, everyone = scored_graph(self.access, request.options.kv), list(range(len(self.pairs)))
        tolerance = first_tolerance(len(everyone)) if len(everyone) > 1 else TOLERANCE
        batches: list[BatchScores] = []
        remaining, label = everyone, "attribute"
        while True:
            by_slopes = tolerance > TOLERANCE
            # Per pair, as some pairs may be replaced by later integrations.
            options = replace(request.options, keep_pairs=by_slopes or request.options.keep_pairs)
            nodes = AdaptiveNodes(tolerance)
            current = replace(request, quadrature=nodes, by_slopes=by_slopes, options=options)
            earlier_nodes = {index: count for scores in batches for index, count in scores.nodes_by_pair()}
            settled = []
            if len(remaining) < len(everyone):
                settled = [scores.without(set(remaining), graph) for scores in batches]
            batches = settled + [scores.add_nodes(earlier_nodes) for scores in self.score(current, remaining, label)]
            ratio = _error_ratio(batches)
            if not by_slopes or ratio <= LARGEST_ERROR_RATIO:
                return batches, tolerance
            tolerance, remaining = _tighten(batches, tolerance, ratio)
            label = "refine"


def _tighten(batches: list[BatchScores], tolerance: float, ratio: float) -> tuple[float, list[int]]:
    """Return a tolerance expected to bring the error ratio down to the largest allowed, and the pairs that miss it.

    These are all pairs if it is near 1 %: to that they are integrated by another rule.
    """
    tolerance *= min(0.5, LARGEST_ERROR_RATIO / ratio)
    if tolerance < 2 * TOLERANCE:
        return TOLERANCE, sorted(index for scores in batches for index in scores.indices)
    coarse = []
    for scores in batches:
        errors = scores.path_errors.relative
        coarse += [index for index, error in zip(scores.indices, errors, strict=True) if error > tolerance]
    return (tolerance, sorted(coarse)) if coarse else _tighten(batches, tolerance, ratio)


def _score_edges(model: Subject | nn.Module, pairs: Pairs, request: _AttributionRequest) -> EdgeScores:
    """Return edge scores of the whole set of pairs, computed batch by batch."""
    started = time.perf_counter()
    plain = as_model(model)
    access = head_access(plain)
    options = request.options
    graph = scored_graph(access, options.kv)
    with frozen_model(plain):
        budget = attribution_budget(plain, access, pairs, request.nodes, options.memory, options.batch)
        scorer = _Scorer(plain, access, pairs, budget, options.progress)
        final_tolerance = None
        if request.quadrature == AdaptiveNodes(tolerance=None):
            batches, final_tolerance = scorer.score_until_precise(request)
        else:
            batches = scorer.score(request, list(range(len(pairs))))
    loss_clean, loss_corrupt = np.concatenate([scores.losses for scores in batches]).mean(axis=0).tolist()
    settings = provenance(model, pairs, request.metric)
    settings |= {"d_model": access.d_model, "kv": options.kv, "positions": _name_positions(pairs)}
    settings |= {"vocabulary": pairs.vocabulary or access.vocabulary}
    settings |= {"method": request.method, "loss_clean": loss_clean, "loss_corrupt": loss_corrupt}
    settings |= budget.shortages | _quadrature_settings(request, batches, final_tolerance)
    # Back in the order of the pairs, and summed in float64: the mean does not depend on how pairs were batched.
    order = np.argsort(np.concatenate([scores.indices for scores in batches]))
    signed = np.sum([scores.signed for scores in batches], axis=0) / len(order)
    absolute = np.sum([scores.absolute for scores in batches], axis=0) / len(order)
    pair_edges = [scores.edges for scores in batches if scores.edges is not None and options.keep_pairs]
    # Scores of the input's edges must add up to the rise of the loss on the corrupt text (completeness).
    lost = loss_corrupt - loss_clean
    _require_scores(request, absolute, lost)
    return EdgeScores(
        graph=graph,
        edges=signed.astype(np.float32),
        edges_abs=absolute.astype(np.float32),
        pair_heads=np.concatenate([scores.heads for scores in batches])[order],
        pair_edges=np.concatenate(pair_edges)[order] if pair_edges else None,
        residual=abs(float(signed[0].sum()) - lost) / max(abs(lost), 1e-30),
        seconds=time.perf_counter() - started,
        settings=settings,
        problems=pairs.problems,
        pair_net=np.concatenate([scores.net for scores in batches])[order],
    )


def _score_batch(
    model: PreTrainedModel,
    access: HeadAccess,
    pairs: Pairs,
    group: list[int],
    request: _AttributionRequest,
    budget: Budget,
) -> BatchScores:
    runner = cache_prefix(model, access, collate(pairs, group, access.device))
    writes = record_writes(runner)
    # Only Δ is needed from here on, and Δ of the input is the first residual stream's.
    writes = replace(writes, residual=writes.residual[:1])
    objective = Objective.from_runs(request.metric, runner.batch, writes.logits)
    losses = objective.losses(writes.logits)
    integrand = Integrand(runner, writes, objective, budget, has_slopes=request.by_slopes)
    paths: list[AdaptiveQuadrature] = []
    if isinstance(request.quadrature, Quadrature):
        scores = integrand.integrate(request.quadrature)
        nodes = [request.nodes] * len(group)
    elif request.by_slopes:
        results = integrate_by_slopes(integrand, request.quadrature.tolerance or TOLERANCE)
        paths = [result.path for result in results]
        scores = np.stack([result.scores for result in results])
        nodes = [result.nodes for result in results]
    else:
        paths = integrand.integrate_adaptively(request.quadrature.tolerance or TOLERANCE)
        scores = np.stack([path.integral for path in paths])
        nodes = [len(path.alphas) for path in paths]
    graph = scored_graph(access, request.options.kv)
    return BatchScores.of(
        graph,
        runner.batch.indices,
        graph.fold(scores),
        losses,
        np.array(nodes),
        PathErrors.of(paths),
        keep_pairs=request.options.keep_pairs,
    )


def _require_scores(request: _AttributionRequest, absolute: Float[np.ndarray, "F B"], lost: float) -> None:
    """Raise InputError if all scores are 0, or rounding of 0, because nothing moves the metric."""
    largest = float(absolute.max())
    if largest == 0:
        raise InputError(
            "every score is 0: no corrupt text changes the metric; logit_diff compares the likeliest tokens of both "
            "texts if pairs have no labels, and these may be the same"
        )
    if request.method == "eap" and largest < _NEGLIGIBLE * abs(lost):
        raise InputError(
            f"the metric's gradient at the clean text, which method eap takes, is 0 beside its change of {lost:.3g}; "
            "take method eap-ig"
        )


def _error_ratio(batches: list[BatchScores]) -> float:
    """Return the integration error of the mean head scores over their standard error; infinity for one pair."""
    # In the order of the pairs: sums in another order would differ by rounding.
    order = np.argsort(np.concatenate([scores.indices for scores in batches]))
    if len(order) == 1:
        return np.inf
    heads = np.concatenate([scores.heads for scores in batches])[order]
    path_errors = PathErrors.join([scores.path_errors for scores in batches]).take(order)
    losses = np.concatenate([scores.losses for scores in batches])[order]
    return error_ratio(heads, path_errors.relative, path_errors.missed_loss, losses[:, 1] - losses[:, 0])


def _name_positions(pairs: Pairs) -> str:
    only_last = all(pair.positions.tolist() == [len(pair.clean) - 1] for pair in pairs)
    return "last" if only_last else "several"


def _quadrature_settings(
    request: _AttributionRequest, batches: list[BatchScores], final_tolerance: float | None
) -> dict[str, object]:
    """Return rule and nodes; if adaptive, also the tolerance of a pair and the error reached.

    final_tolerance: that of ``score_until_precise``; None if the rule is fixed or the request has a tolerance.

    adaptive_error: the estimated error of all pairs together, relative to their scores.
    adaptive_unsettled: number of pairs that miss the tolerance with the largest number of nodes.
    adaptive_share: the integration error of the mean head scores over their standard error; None if pairs agree or
        there is only one.
    adaptive_converged: all pairs are within the tolerance, or all together, or that ratio is small enough.
    """
    if request.method == "eap":
        return {}
    nodes = np.concatenate([scores.nodes for scores in batches])
    if isinstance(request.quadrature, Quadrature):
        return {"rule": request.quadrature.rule, "nodes": int(nodes.max())}
    tolerance = request.quadrature.tolerance or final_tolerance
    assert tolerance is not None
    path_errors = PathErrors.join([scores.path_errors for scores in batches])
    # 1e-30: pairs that score nothing have an error of 0, not NaN.
    error = float(path_errors.error.sum() / max(path_errors.norm.sum(), 1e-30))
    unsettled = int(np.count_nonzero(~path_errors.settled))
    ratio = _error_ratio(batches)
    is_small = final_tolerance is not None and ratio <= LARGEST_ERROR_RATIO
    return {
        "rule": "adaptive",
        "nodes": int(nodes.max()),
        "nodes_mean": float(nodes.mean()),
        "adaptive_tolerance": tolerance,
        "adaptive_error": error,
        "adaptive_unsettled": unsettled,
        "adaptive_share": ratio if np.isfinite(ratio) else None,
        "adaptive_converged": error <= tolerance or unsettled == 0 or is_small,
    }
