"""Emergence of one model against another, with the null next to every count (method section 5).

1. Activity of base and post on the same pairs, resampled alike (``activity``).
2. Status of every head: kept, new, lost, contingent, absent (``inclusion``, ``status_counts``).
3. The same counts for base against itself on random halves of all its problems: the null (``split_half_null``).
4. Excess: counts − null; the same for edges (``edge_change``), and layer by layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import length_hint

from headscope.comparison.compatibility import require_other_pairs, require_same_pairs, require_same_scoring
from headscope.comparison.edge_change import edge_change, edge_null
from headscope.comparison.importance import doubled_heads, importance_change, pair_sums, shares
from headscope.comparison.inclusion import EmergenceMethod, ScoredModel, inclusion_frequency, scored_model
from headscope.comparison.resampling import Resampling
from headscope.comparison.split_half_null import SplitHalves, split_halves
from headscope.comparison.status_counts import Frequencies, StatusCounts
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.progress import SILENT, Progress
from headscope.results.counts import EdgeChange
from headscope.results.edges import EdgeScores, HeadScore
from headscope.results.emergence import Emergence

HEAD_SCORES: dict[EmergenceMethod, HeadScore] = {"bootstrap": "net", "paper": "flow"}
"""The head score from which each method computes importance and its change."""


@dataclass(frozen=True, eq=False)
class _Base:
    """The base, and the base against itself: what every post-trained model is compared with."""

    model: ScoredModel
    halves: SplitHalves | None
    null_source: str
    doubled: HeadSet | None


@dataclass(frozen=True, eq=False)
class _Reference:
    """The base under one method."""

    base: _Base
    method: EmergenceMethod
    resampling: Resampling
    model: ScoredModel
    frequencies: Frequencies
    null: StatusCounts
    edge_null: StatusCounts


def emergence(
    base: EdgeScores,
    post: EdgeScores,
    *,
    base_again: EdgeScores | None = None,
    resampling: Resampling = Resampling(),
    post_fraction: float | None = None,
    method: EmergenceMethod = "bootstrap",
    paired: bool = True,
) -> Emergence:
    """Compare the heads of ``post`` with those of ``base``: which are kept, new, lost or contingent.

    Args:
        base: scores of the base.
        post: scores of the post-trained model.
        base_again: scores of the base on fresh pairs, for the null; if None, the base's own problems are halved.
        resampling: the circuit's size, and how the problems are resampled.
        post_fraction: size of the post-trained model's circuit as a share of the real edges, for circuits of equal
            faithfulness (``equal_faithfulness.fraction_reaching``) instead of equal size.
        method: ``bootstrap`` needs per-pair edge scores. ``paper`` is the set difference of heads in the pruned
            circuits of the pooled scores; it works without per-pair edges, but then without intervals and without a
            null. The paper's circuit is ``Resampling(edges=PAPER_EDGES, tau=PAPER_TAU)``.
        paired: False if the two models were scored on different pairs.

    Raises:
        InputError: if graphs, vocabularies, pairs or scoring settings differ, per-pair edges are missing, the method
            is unknown, or all pairs belong to one problem.
    """
    reference = _reference(_base(base, base_again, resampling, method), resampling, method)
    _require_comparable(base, post, paired=paired)
    post_resampling = resampling if paired else resampling.independent()
    if post_fraction is not None:
        post_resampling = replace(post_resampling, fraction=post_fraction, edges=None)
    model = scored_model(post, post_resampling, method)
    return replace(_compare(reference, model, paired=paired), post_fraction=post_fraction)


def emergence_ladder(
    base: EdgeScores,
    post: EdgeScores,
    fractions: Sequence[float],
    *,
    base_again: EdgeScores | None = None,
    resampling: Resampling = Resampling(),
) -> list[Emergence]:
    """Return ``emergence`` at several circuit sizes, from one resampling of the pairs.

    It shows whether the counts depend on the size that was chosen.

    Args:
        base: scores of the base.
        post: scores of the post-trained model on the same pairs.
        fractions: the sizes, as shares of the real edges; they replace that of ``resampling``.
        base_again: scores of the base on fresh pairs, for the null.
        resampling: how the problems are resampled.

    Raises:
        InputError: as ``emergence`` does, or if there is no fraction.
    """
    if not fractions:
        raise InputError("found no fraction; the ladder needs at least one circuit size")
    rungs = [replace(resampling, fraction=fraction, edges=None) for fraction in fractions]
    base_side = _base(base, base_again, rungs[0], "bootstrap")
    _require_comparable(base, post)
    model = scored_model(post, rungs[0], "bootstrap")
    return [_compare(_reference(base_side, rung, "bootstrap"), model.at(rung)) for rung in rungs]


def emergence_by_method(
    base: EdgeScores,
    posts: Iterable[EdgeScores],
    methods: Mapping[EmergenceMethod, Resampling],
    *,
    base_again: EdgeScores | None = None,
    progress: Progress = SILENT,
) -> dict[EmergenceMethod, list[Emergence]]:
    """Return the ``emergence`` of every checkpoint against one base, by several methods at once.

    The base's part is computed once, and each model's pairs are resampled once for all methods.

    Args:
        base: scores of the base.
        posts: scores of the checkpoints, which may be loaded one by one: only one is held at a time.
        methods: each method with its ``Resampling``, which may differ in the circuit size only.
        base_again: base scored on fresh pairs, for the null.
        progress: counts the checkpoints.

    Raises:
        InputError: as ``emergence`` does.
    """
    baseline = Baseline.of(base, methods, base_again=base_again)
    series: dict[EmergenceMethod, list[Emergence]] = {method: [] for method in methods}
    with progress.bar("comparing checkpoints", length_hint(posts)) as bar:
        for post in posts:
            for method, result in baseline.compare(post).items():
                series[method].append(result)
            bar.advance()
    return series


@dataclass(frozen=True, eq=False)
class Baseline:
    """The base under several methods, computed once: checkpoints are compared with it one by one, as they come."""

    base: EdgeScores
    _references: tuple[_Reference, ...]
    _drawn: tuple[Resampling, EmergenceMethod]

    @classmethod
    def of(
        cls,
        base: EdgeScores,
        methods: Mapping[EmergenceMethod, Resampling],
        *,
        base_again: EdgeScores | None = None,
    ) -> "Baseline":
        """Return the base; arguments and errors are those of ``emergence_by_method``."""
        # The bootstrap's resamples serve the paper's method too, but not the other way round.
        needs_pairs: EmergenceMethod = "bootstrap" if "bootstrap" in methods else "paper"
        first = next(iter(methods.values()))
        side = _base(base, base_again, first, needs_pairs)
        references = tuple(_reference(side, resampling, method) for method, resampling in methods.items())
        return cls(base, references, (first, needs_pairs))

    def compare(self, post: EdgeScores) -> dict[EmergenceMethod, Emergence]:
        """Return a checkpoint's ``emergence`` by each method. Raises InputError as ``emergence`` does."""
        _require_comparable(self.base, post)
        model = scored_model(post, *self._drawn)
        return {reference.method: _compare(reference, model.at(reference.resampling)) for reference in self._references}


def _base(base: EdgeScores, again: EdgeScores | None, resampling: Resampling, method: EmergenceMethod) -> _Base:
    scored = [base]
    doubled = None
    if again is not None:
        require_same_scoring(base, again, "the base scored again")
        require_other_pairs(again, base, "base_again", "base")
        scored.append(again)
        doubled = doubled_heads(base, again, paired=False)
    model = scored_model(base, resampling, method)
    # A null needs problems to cut: per-pair edges, and at least one problem for each side. A single pair has no null;
    # several pairs of a single problem look like a sample and are refused (``split_halves``).
    if any(scores.pair_edges is None for scores in scored) or sum(len(scores.pair_heads) for scores in scored) < 2:
        return _Base(model, None, "none", doubled)
    null_source = "halves" if again is None else "fresh pairs"
    return _Base(model, split_halves(base, again, resampling), null_source, doubled)


def _reference(base: _Base, resampling: Resampling, method: EmergenceMethod) -> _Reference:
    model = base.model.at(resampling)
    frequencies = inclusion_frequency(model, method)
    if base.halves is None or model.activity is None:
        null, edges = StatusCounts.unknown(len(frequencies.observed)), StatusCounts.unknown(1)
    else:
        halves = base.halves.at(resampling)
        sides = halves.head_frequencies(model.activity, method)
        null = StatusCounts.split_half(sides, halves.size, resampling)
        edges = edge_null(halves, model.activity, resampling, method)
    return _Reference(base, method, resampling, model, frequencies, null, edges)


def _require_comparable(base: EdgeScores, post: EdgeScores, *, paired: bool = True) -> None:
    require_same_scoring(base, post, "the post-trained model")
    if paired:
        require_same_pairs(base, post)


def _compare(reference: _Reference, post: ScoredModel, *, paired: bool = True) -> Emergence:
    resampling, null, base = reference.resampling, reference.null, reference.model.scores
    frequencies = inclusion_frequency(post, reference.method)
    counts = StatusCounts.compare(reference.frequencies, frequencies, resampling)
    score = HEAD_SCORES[reference.method]
    return Emergence(
        base_frequency=reference.frequencies.observed,
        post_frequency=frequencies.observed,
        counts=counts.counts(resampling.seed),
        null=null.cut_range(),
        excess=counts.excess(null, resampling.seed),
        new_p_value=counts.p_value(null),
        doubled=doubled_heads(base, post.scores, paired=paired),
        doubled_null=reference.base.doubled,
        importance_change=importance_change(base, post.scores, paired=paired, score=score),
        pairs=counts.size.pairs,
        null_pairs=null.size.pairs,
        null_source=reference.base.null_source,
        fraction=_fraction(resampling, base),
        resamples=resampling.resamples,
        seed=resampling.seed,
        method=reference.method,
        core_from=resampling.core,
        contingent_from=resampling.contingent,
        settings={"base": base.settings, "post": post.scores.settings},
        edges=_edge_change(reference, post),
        layers=counts.layer_profile(null),
        base_importance=shares(pair_sums(base, score=score).mean(axis=0)),
        tau=resampling.tau,
        problems=counts.size.problems,
        null_problems=null.size.problems,
    )


def _edge_change(reference: _Reference, post: ScoredModel) -> EdgeChange | None:
    base = reference.model.activity
    if base is None or post.activity is None:
        return None
    return edge_change(base, post.activity, reference.edge_null, reference.resampling, reference.method)


def _fraction(resampling: Resampling, scores: EdgeScores) -> float:
    """Return the circuit's share of the real edges, also if its size was given as a number of edges."""
    if resampling.edges is None:
        return resampling.fraction
    total = int(scores.graph.real.sum())
    return resampling.circuit_edges(total) / total
