"""Edge attribution: one call for every method of ``ATTRIBUTION_METHODS``.

A new method is a function with the signature of ``exact_edges`` and a line in the table; study files can name it once
it is added to ``DiscoverConfig.method`` (``studies.study_file.discover``).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from headscope.circuits.adaptive_quadrature import AdaptiveNodes
from headscope.circuits.batches import check_pairs
from headscope.circuits.exact_patching import exact_edges
from headscope.circuits.gradient_attribution import eap, eap_ig
from headscope.circuits.objective import Metric, check_clean_gradient, check_metric
from headscope.circuits.options import AttributionOptions
from headscope.circuits.scored_graph import check_kv
from headscope.errors import InputError, suggestion
from headscope.measures.quadrature import Quadrature, quadrature
from headscope.models import Subject
from headscope.pairs import Pairs
from headscope.progress import SILENT, Progress
from headscope.results.edges import EdgeScores


@dataclass(frozen=True)
class AttributionMethod:
    """One way to score edges.

    score: function of model, pairs, metric and ``AttributionOptions``.
    integrates: whether it takes a ``quadrature`` too, by name, as it integrates over the path from corrupt to clean.
    """

    score: Callable[..., EdgeScores]
    integrates: bool = False


ATTRIBUTION_METHODS = {
    "eap": AttributionMethod(eap),
    "eap-ig": AttributionMethod(eap_ig, integrates=True),
    "exact": AttributionMethod(exact_edges),
}


def attribute(
    model: Subject | nn.Module,
    pairs: Pairs,
    *,
    metric: str | Metric = "kl",
    method: str = "eap-ig",
    rule: str = "gauss",
    nodes: int | str = "adaptive",
    tolerance: float | None = None,
    kv: str = "query",
    keep_pairs: bool = False,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> EdgeScores:
    """Score every edge of the model's graph on ``pairs``: Σ over positions of Δ_u · ḡ_v, averaged over pairs.

    A score is positive when corrupting the edge raises the loss (arXiv 2403.17806).

    Args:
        model: a ``Subject`` or a plain Hugging Face model in evaluation mode; it is left as it was.
        pairs: clean and corrupt texts, and the positions at which the metric is read.
        metric: ``kl``, ``logit_diff``, ``nll`` (see ``Objective``), or a function of (logits [run, position, vocab],
            clean logits [position, vocab]) of one pair to one loss per run.
        method: ``eap-ig`` integrates the gradient from the corrupt to the clean embedding; ``eap`` takes it at the
            clean one, where that of ``kl`` is 0; ``exact`` patches every edge (``exact_edges``; a pass per edge, for
            small models).
        rule: quadrature rule of ``eap-ig`` with a fixed number of nodes: gauss, left, right or midpoint.
        nodes: quadrature nodes of ``eap-ig``. A number is used for all pairs; ``adaptive`` chooses them pair by pair,
            up to 128 (``adaptive_quadrature``), and has a rule of its own.
        tolerance: target error of adaptive nodes. None: the integration error of the mean head scores is at most a
            fifth of their standard error over pairs (``error_ratio``), or 1 % of each pair's scores if pairs agree
            or there is only one. A few pairs that differ much need few nodes by that rule, and may leave a residual
            above 5 %. A number, such as 0.01 for 1 %: the error of every pair's scores, relative to them.
            The result's ``settings`` hold the number of nodes, the final tolerance of a pair, the estimated error, its
            share of the standard error, and whether the target was reached.
        kv: with ``query`` every query head has its own copy of its group's key and value input; with ``group`` there is
            one input per key/value head, scored by the sum of its copies' scores.
        keep_pairs: keep the scores of every pair too, [pair, F, B].
        batch: largest number of pairs in a batch; None derives it from the memory.
        memory: bytes that may be used in addition to the weights; None allows half of what the device has free. It
            decides how many pairs, nodes and positions are computed at a time; scores change by rounding only. If
            memory runs out nevertheless, fewer nodes are computed at a time from then on.
        progress: counts pairs, or with ``exact`` pairs × edges.

    Raises:
        InputError: if an argument is not one of these values, the model is in training mode or of an unknown
            architecture, one node of one pair does not fit in memory, scores are not finite or all 0, or no pair's
            texts differ.
    """
    check_pairs(pairs)
    _check_method(method)
    check_kv(kv)
    path_nodes = _path_nodes(method, rule, nodes, tolerance)
    row = ATTRIBUTION_METHODS[method]
    options = AttributionOptions(kv, keep_pairs, batch, memory, progress)
    if row.integrates:
        return row.score(model, pairs, metric, options, quadrature=path_nodes)
    return row.score(model, pairs, metric, options)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise InputError unless ``attribute`` takes these keyword arguments, before there is a model to score."""
    defaults = {}
    for name, parameter in inspect.signature(attribute).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            defaults[name] = parameter.default
    for name in settings.keys() - defaults.keys():
        raise InputError(f"attribute has no setting {name!r}{suggestion(name, defaults)}")
    options = defaults | dict(settings)
    _check_method(options["method"])
    check_kv(options["kv"])
    _path_nodes(options["method"], options["rule"], options["nodes"], options["tolerance"])
    check_metric(options["metric"])
    if options["method"] == "eap":
        check_clean_gradient(options["metric"])


def _check_method(method: str) -> None:
    if method not in ATTRIBUTION_METHODS:
        raise InputError(f"method {method!r} is unknown{suggestion(method, ATTRIBUTION_METHODS)}")


def _path_nodes(method: str, rule: str, nodes: int | str, tolerance: float | None) -> Quadrature | AdaptiveNodes:
    """Return where on the path gradients are taken.

    Raises InputError for unknown values, even if the method does not integrate, and for two that exclude each other.
    """
    integrates = ATTRIBUTION_METHODS[method].integrates
    if isinstance(nodes, bool) or not isinstance(nodes, int | str):
        raise InputError(f"found nodes={nodes!r}; give a whole number or 'adaptive'")
    if isinstance(nodes, str) and nodes != "adaptive":
        raise InputError(f"nodes {nodes!r} is unknown; give a number or 'adaptive'")
    fixed = quadrature(rule, 1 if isinstance(nodes, str) else nodes)
    if integrates and nodes == "adaptive" and rule != "gauss":
        raise InputError(f"found rule={rule!r} with adaptive nodes, which have their own rule; give a number of nodes")
    adaptive = AdaptiveNodes(tolerance)
    if tolerance is not None and (nodes != "adaptive" or not integrates):
        raise InputError(
            f"found tolerance={tolerance!r} with method {method!r} and {nodes} nodes; only adaptive nodes of "
            "eap-ig take a tolerance"
        )
    return adaptive if nodes == "adaptive" else fixed
