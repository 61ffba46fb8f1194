"""Change of every head's exact effect by training: effects in one model less those in another.

1. A head's effect in a model is the mean over pairs of its exact score (``circuits.exact_heads``), in nats.
2. A contrast is a weighted sum of such effects. Models measured on the same pairs share their noise: their scores are
   subtracted pair by pair. Models measured on other pairs are independent samples (Welch), even if some problems are
   the same, which makes intervals wider than necessary.
3. Problems are the independent units, weighted by their number of pairs (``pairs.problems``).
4. p-values are adjusted over all heads (Benjamini and Hochberg).

Because the base is measured on the same pairs, (post − base) − (twin − base) is post − twin: the difference in
differences needs no further noise.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from headscope.comparison.compatibility import PAIRS_DIGEST
from headscope.comparison.head_contrasts import head_estimates, pool_head_estimates, sum_or_zero
from headscope.comparison.overlap import rank_correlation
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.independent_estimates import pool_estimates
from headscope.measures.intervals import PROBLEM_T, without_interval
from headscope.measures.multiplicity import q_values
from headscope.results.counts import HeadEstimates
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.head_scores import HeadScores
from headscope.results.training_effects import ALL, HeadContrast, PooledEffects, TrainingEffects


def head_effect(scores: HeadScores) -> HeadEstimates:
    """Return every head's exact effect in one model, in nats, with its interval over problems."""
    return effect_contrast([scores], [1.0]).heads


def effect_contrast(
    models: Sequence[HeadScores], weights: Sequence[float], sets: Mapping[str, HeadSet] | None = None
) -> HeadContrast:
    """Return Σ weight · exact effect over several models, of every head and on average over head sets.

    Args:
        models: exact effects by the same metric; those on the same pairs (by the digest in their settings) are paired.
        weights: weight of each model, such as (−1, 1) for base and post.
        sets: head sets by name; the mean over all heads is added to them.

    Raises:
        InputError: if the models have different numbers of heads or were measured by different metrics.
    """
    _check_alike(models)
    shape = models[0].pair_heads.shape[1:]
    grids = {ALL: np.ones(shape, dtype=bool)} | {
        name: heads.grid(*shape) for name, heads in (sets or {}).items() if heads
    }
    # The means over head sets are further columns, which makes one [pair, 1, head or set] grid of everything.
    members = np.stack([grid.ravel() / grid.sum() for grid in grids.values()], axis=1)
    columns = []
    for scores in models:
        flat = scores.pair_heads.reshape(len(scores.pair_heads), -1).astype(np.float64)
        columns.append(np.concatenate([flat, flat @ members], axis=1)[:, None])
    estimates, problems = _contrast(models, columns, weights)
    heads = shape[0] * shape[1]
    per_head = HeadEstimates(*(_first(array, heads, shape) for array in _arrays(estimates)))
    means = {}
    for index, name in enumerate(grids, start=heads):
        value = float(estimates.value[0, index])
        low = float(estimates.low[0, index])
        high = float(estimates.high[0, index])
        means[name] = Estimate(value, low, high, problems, PROBLEM_T)
    assert per_head.p_value is not None
    return HeadContrast(per_head, q_values(per_head.p_value), means, problems)


def training_effects(
    variant: str,
    step: int,
    base: HeadScores,
    post: HeadScores,
    twins: Mapping[str, HeadScores],
    head_sets: Mapping[str, HeadSet],
    edge_scores: EdgeScores,
    *,
    recipe: str = "",
    null: str = "",
) -> TrainingEffects:
    """Return exact effects in base and post, post − base, and post − each null twin, in nats.

    Args:
        variant, step: name and training step of post, for the record.
        base, post: exact effects in the two models, on the same pairs.
        twins: exact effects in null twins by name, on these pairs too.
        head_sets: by name, found on other pairs.
        edge_scores: the base's on the same pairs, whose ranks are compared with its exact effects.
        recipe, null: see ``TrainingEffects``; for the record.

    Raises:
        InputError: if the models differ in shape, metric or pairs.
    """
    for name, scores in {"post": post, **twins}.items():
        if scores.settings.get(PAIRS_DIGEST) != base.settings.get(PAIRS_DIGEST):
            raise InputError(f"{name} was patched on other pairs than the base; patch both on the same pairs")
    above = {name: effect_contrast([twin, post], (-1.0, 1.0), head_sets) for name, twin in twins.items()}
    size = base.problem_groups.size
    return TrainingEffects(
        variant=variant,
        step=step,
        recipe=recipe or variant,
        null=null,
        metric=str(base.settings.get("metric", "")),
        base=head_effect(base),
        post=head_effect(post),
        corruption=(base.corruption, post.corruption),
        training=effect_contrast([base, post], (-1.0, 1.0), head_sets),
        above_twin=above,
        counted=dict(head_sets),
        pairs=size.pairs,
        problems=size.problems,
        ranks=_ranks(base, edge_scores),
    )


def pool_training_effects(runs: Sequence[TrainingEffects]) -> PooledEffects:
    """Return the mean over the runs of one recipe, which differ only in the seed.

    Twins that some runs lack are left out. Raises InputError if there is no run.
    """
    if not runs:
        raise InputError("found no training effects; the mean over seeds needs at least one run")
    twins = [name for name in runs[0].above_twin if all(name in run.above_twin for run in runs)]
    return PooledEffects(
        recipe=runs[0].recipe,
        variants=tuple(run.variant for run in runs),
        training=pool_contrasts([run.training for run in runs]),
        above_twin={name: pool_contrasts([run.above_twin[name] for run in runs]) for name in twins},
        least=float(np.mean([run.least for run in runs])),
    )


def pool_contrasts(contrasts: Sequence[HeadContrast]) -> HeadContrast:
    """Return the mean of contrasts over seeds, half-widths √(w² + s²); a head set that some runs lack is the mean of
    those that have it.
    """
    problems = min(contrast.problems for contrast in contrasts)
    heads = pool_head_estimates([contrast.heads for contrast in contrasts], problems)
    assert heads.p_value is not None
    names = dict.fromkeys(name for contrast in contrasts for name in contrast.sets)
    sets = {}
    for name in names:
        sets[name] = pool_estimates([contrast.sets[name] for contrast in contrasts if name in contrast.sets])
    return HeadContrast(heads, q_values(heads.p_value), sets, problems)


def _ranks(exact: HeadScores, edge_scores: EdgeScores) -> Estimate:
    """Return the rank correlation of exact effects with attribution; NaN for fewer than the 4 heads that it needs."""
    if exact.mean.size < 4:
        return without_interval(exact.mean.size, "fewer than 4 heads")
    return rank_correlation(np.abs(exact.mean), edge_scores.head_importance)


def _contrast(
    models: Sequence[HeadScores], columns: "Sequence[Float[np.ndarray, '_ 1 column']]", weights: Sequence[float]
) -> tuple[HeadEstimates, int]:
    """Return the weighted sum of the columns' means, and the number of problems of the smallest sample."""
    terms, sizes = [], []
    samples: dict[object, list[Float[np.ndarray, "_ 1 column"]]] = {}
    for index, (scores, values, weight) in enumerate(zip(models, columns, weights, strict=True)):
        mean, groups = values.mean(axis=0), scores.problem_groups
        terms.append(weight * mean)
        # Without a digest it is unknown whether two models saw the same pairs: they are treated as independent samples.
        key = scores.settings.get(PAIRS_DIGEST, index)
        samples.setdefault(key, []).append(weight * groups.totals(values - mean))
        sizes.append(len(groups))
    influences = [sum_or_zero(cells) if len(cells) > 1 else cells[0] for cells in samples.values()]
    return head_estimates(sum_or_zero(terms), influences), min(sizes)


def _check_alike(models: Sequence[HeadScores]) -> None:
    shapes = {scores.pair_heads.shape[1:] for scores in models}
    metrics = {scores.settings.get("metric") for scores in models}
    if len(shapes) > 1:
        grids = " and ".join(f"{layers} × {heads}" for layers, heads in sorted(shapes))
        raise InputError(f"the models have {grids} heads; effects are compared between models of one shape")
    if len(metrics) > 1:
        raise InputError(
            f"the effects were measured by {' and '.join(sorted(map(str, metrics)))}; measure all by one metric"
        )


def _arrays(estimates: HeadEstimates) -> "list[Float[np.ndarray, '1 column']]":
    assert estimates.p_value is not None
    return [estimates.value, estimates.low, estimates.high, estimates.p_value]


def _first(array: "Float[np.ndarray, '1 column']", count: int, shape: tuple[int, ...]) -> "Float[np.ndarray, '_ _']":
    return array[0, :count].reshape(shape)
