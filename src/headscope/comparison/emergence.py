"""Emergence of one model against another, with the null beside every count (method section 5).

1. Activity of base and post on the same pairs, resampled alike (``activity``).
2. Status of every head: kept, new, lost, contingent, absent.
3. The same counts for base against itself on random halves of all its pairs: the test-retest null (``retest``).
4. Excess: counts − null; the same for edges, and layer by layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import length_hint

from headscope.comparison.compatible import require_alike, require_other_pairs, require_same_pairs
from headscope.comparison.edge_change import edge_change, edge_null
from headscope.comparison.effects import doubled, importance_change, pair_sums, shares
from headscope.comparison.measured import Measured, Method, measured, retest_sides
from headscope.comparison.resampling import Resampling
from headscope.comparison.retest import Retest, retest
from headscope.comparison.tally import Frequencies, Tally
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.progress import SILENT, Progress
from headscope.results.counts import EdgeChange
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence

__all__ = ["Method", "Methods", "emergence", "emergence_by_method", "emergence_ladder", "emergence_series"]

Methods = Mapping[Method, Resampling]
"""Each method with its circuit size; what else a ``Resampling`` says must be the same in all."""


@dataclass(frozen=True, eq=False)
class _Base:
    """What every post-trained model is held against: base, and base against itself on other pairs."""

    model: Measured
    retest: Retest | None
    null_source: str
    doubled: HeadSet | None


@dataclass(frozen=True, eq=False)
class _Reference:
    """Base as one method sees it."""

    method: Method
    how: Resampling
    model: Measured
    frequencies: Frequencies
    null: Tally
    edge_null: Tally
    shared: _Base


def emergence(
    base: EdgeScores,
    post: EdgeScores,
    *,
    base_again: EdgeScores | None = None,
    fraction: float = 0.01,
    post_fraction: float | None = None,
    resamples: int = 200,
    seed: int = 0,
    method: Method = "bootstrap",
    paired: bool = True,
) -> Emergence:
    """Which heads ``post`` has that ``base`` has not, both scored on the same pairs.

    base_again: base scored on fresh pairs, for the null; without it, base's own pairs are halved.
    fraction: of real edges in a circuit. post_fraction: in the post-trained model's, for circuits of equal faithfulness
        (``sizes.fraction_reaching``) instead of equal size.
    method: ``bootstrap`` needs per-pair edge scores. ``paper`` is the set difference of heads in the pruned
        circuits of the pooled scores; it works without per-pair edges, but then without intervals, and
        without a null unless ``base_again`` is given. For the paper's circuit size see ``paper_rule``.

    Raises InputError where graphs, vocabularies, pairs or ways of scoring differ, per-pair edges are missing, or the
    method is none of the two.
    """
    how = Resampling(fraction, resamples, seed)
    reference = _reference(_base(base, base_again, how, method), how, method)
    _require_comparable(base, post, paired=paired)
    drawn = how if paired else how.independent()
    model = measured(post, drawn if post_fraction is None else replace(drawn, fraction=post_fraction), method)
    return replace(_against(reference, model, paired=paired), post_fraction=post_fraction)


def emergence_series(
    base: EdgeScores,
    posts: Iterable[EdgeScores],
    *,
    base_again: EdgeScores | None = None,
    fraction: float = 0.01,
    resamples: int = 200,
    seed: int = 0,
    method: Method = "bootstrap",
    progress: Progress = SILENT,
) -> list[Emergence]:
    """``emergence`` of every checkpoint of ``posts`` against one base, whose own part is computed once.

    ``posts`` may load its results one by one; only one is held at a time.
    """
    methods: Methods = {method: Resampling(fraction, resamples, seed)}
    return emergence_by_method(base, posts, methods, base_again=base_again, progress=progress)[method]


def emergence_ladder(
    base: EdgeScores,
    post: EdgeScores,
    fractions: Sequence[float],
    *,
    base_again: EdgeScores | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> list[Emergence]:
    """``emergence`` at several circuit sizes, from one resampling of the pairs: the null of the threshold.

    Raises InputError as ``emergence`` does, and for no fraction.
    """
    if not fractions:
        raise InputError("found no fraction; the ladder needs at least one circuit size")
    rungs = [Resampling(fraction, resamples, seed) for fraction in fractions]
    reference = _base(base, base_again, rungs[0], "bootstrap")
    _require_comparable(base, post)
    model = measured(post, rungs[0], "bootstrap")
    return [_against(_reference(reference, how, "bootstrap"), model.at(how)) for how in rungs]


def emergence_by_method(
    base: EdgeScores,
    posts: Iterable[EdgeScores],
    methods: Methods,
    *,
    base_again: EdgeScores | None = None,
    progress: Progress = SILENT,
) -> dict[Method, list[Emergence]]:
    """``emergence_series`` by several methods at once: the pairs of each model are resampled once for all."""
    needs_pairs: Method = "bootstrap" if "bootstrap" in methods else "paper"
    first = next(iter(methods.values()))
    reference = _base(base, base_again, first, needs_pairs)
    references = [_reference(reference, how, method) for method, how in methods.items()]
    series: dict[Method, list[Emergence]] = {method: [] for method in methods}
    with progress.bar("comparing checkpoints", length_hint(posts)) as bar:
        for post in posts:
            _require_comparable(base, post)
            model = measured(post, first, needs_pairs)
            for each in references:
                series[each.method].append(_against(each, model.at(each.how)))
            bar.advance()
    return series


def _base(base: EdgeScores, again: EdgeScores | None, how: Resampling, method: Method) -> _Base:
    if again is not None:
        require_alike(base, again, "the base scored again")
        require_other_pairs(again, base, "base_again", "base")
    model = measured(base, how, method)
    found = None if again is None else doubled(base, again, paired=False)
    needed = [base] if again is None else [base, again]
    if any(each.pair_edges is None for each in needed) or sum(len(each.pair_heads) for each in needed) < 2:
        return _Base(model, None, "none", found)
    return _Base(model, retest(base, again, how), "halves" if again is None else "fresh pairs", found)


def _reference(base: _Base, how: Resampling, method: Method) -> _Reference:
    model = base.model.at(how)
    frequencies = model.heads(how, method)
    if base.retest is None or model.activity is None:
        null = Tally.unknown(len(frequencies.observed))
        return _Reference(method, how, model, frequencies, null, Tally.unknown(1), base)
    found = base.retest.at(how)
    null = Tally.null(retest_sides(found, model.activity, method), found.pairs, how)
    edges = edge_null(found, model.activity, how, method)
    return _Reference(method, how, model, frequencies, null, edges, base)


def _require_comparable(base: EdgeScores, post: EdgeScores, *, paired: bool = True) -> None:
    require_alike(base, post, "the post-trained model")
    if paired:
        require_same_pairs(base, post)


def _against(reference: _Reference, post: Measured, *, paired: bool = True) -> Emergence:
    how, null, base = reference.how, reference.null, reference.model.scores
    frequencies = post.heads(how, reference.method)
    tally = Tally.between(reference.frequencies, frequencies, how)
    return Emergence(
        base_frequency=reference.frequencies.observed,
        post_frequency=frequencies.observed,
        counts=tally.counts(how.seed),
        null=null.range(),
        excess=tally.excess(null, how.seed),
        new_p_value=tally.p_value(null),
        doubled=doubled(base, post.scores, paired=paired),
        doubled_null=reference.shared.doubled,
        importance_change=importance_change(base, post.scores, paired=paired),
        pairs=tally.pairs,
        null_pairs=null.pairs,
        null_source=reference.shared.null_source,
        fraction=how.fraction if how.edges is None else how.size(_edges(base)) / _edges(base),
        resamples=how.resamples,
        seed=how.seed,
        method=reference.method,
        core_from=how.core,
        contingent_from=how.contingent,
        settings={"base": base.settings, "post": post.scores.settings},
        edges=_edge_change(reference, post),
        layers=tally.profile(null),
        base_importance=shares(pair_sums(base).mean(axis=0)),
        tau=how.tau,
    )


def _edge_change(reference: _Reference, post: Measured) -> EdgeChange | None:
    base = reference.model.activity
    if base is None or post.activity is None:
        return None
    return edge_change(base, post.activity, reference.edge_null, reference.how, reference.method)


def _edges(scores: EdgeScores) -> int:
    return int(scores.graph.real.sum())
