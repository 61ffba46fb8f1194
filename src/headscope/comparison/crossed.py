"""Model against prompt: the crossed design {base, post} × {base-style clean, reasoning-style clean} (method section 2).

The paper compares the base on its prompt with post on another, so that a head can look new because of the prompt. Here
both models are scored on both prompts, the same texts with clean and corrupt exchanged:

1. Effects of the model, of the prompt and their interaction on each head's importance, without a threshold.
2. The heads that the confounded comparison calls new are classified by their origin.

The four cells are resampled alike by problem, as they share the noise of a problem's pairs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from headscope.comparison.activity import Activity, head_activity
from headscope.comparison.compatibility import require_other_pairs, require_same_pairs, require_same_scoring
from headscope.comparison.importance import importance_contrast, pair_sums, shares
from headscope.comparison.resampling import Resampling
from headscope.comparison.status_counts import count_estimate
from headscope.heads import HeadSet
from headscope.measures.multiplicity import q_values
from headscope.results.crossed import EFFECTS, ORIGINS, Crossed, Origin
from headscope.results.edges import EdgeScores

_CELLS = ("base base-style", "base reasoning-style", "post base-style", "post reasoning-style")
_WEIGHTS = {
    "model": (-0.5, -0.5, 0.5, 0.5),
    "prompt": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),  # (post − base) on reasoning-style − (post − base) on base-style
}
"""The weights of each effect on the cells, in the order of ``_CELLS``."""


def crossed_design(
    base: tuple[EdgeScores, EdgeScores], post: tuple[EdgeScores, EdgeScores], resampling: Resampling = Resampling()
) -> Crossed:
    """Compare both models, each on (base-style, reasoning-style) clean; all four cells need per-pair edges.

    Raises InputError if graphs, vocabularies or scoring differ, the models of one prompt were scored on different
    pairs, or both prompts are the same.
    """
    for base_cell, post_cell in zip(base, post, strict=True):
        require_same_scoring(base_cell, post_cell, "the post-trained model")
        require_same_pairs(base_cell, post_cell)
    require_other_pairs(base[1], base[0], "the reasoning-style prompt", "the base-style one")
    cells = (*base, *post)
    effects = {name: importance_contrast(cells, _WEIGHTS[name]) for name in EFFECTS}
    p_values = [np.asarray(effects[name].p_value, dtype=np.float64) for name in EFFECTS]
    importance = np.stack([shares(pair_sums(cell).mean(axis=0)) for cell in cells])
    size = base[0].problem_groups.size
    return Crossed(
        importance=importance.reshape(2, 2, *importance.shape[1:]),
        effects=effects,
        q_value=q_values(np.stack(p_values)),
        origins=_origins([head_activity(cell, resampling) for cell in cells], resampling),
        pairs=size.pairs,
        problems=size.problems,
        fraction=resampling.fraction,
        resamples=resampling.resamples,
        seed=resampling.seed,
        settings={name: cell.settings for name, cell in zip(_CELLS, cells, strict=True)},
    )


def _origins(cells: Sequence[Activity], resampling: Resampling) -> dict[str, Origin]:
    """Return counts and heads of each origin, as observed and in every resample."""
    observed = _split_by_origin(np.stack([cell.frequency for cell in cells]), resampling)
    draws = _split_by_origin(np.stack([cell.resampled_frequency() for cell in cells]), resampling)
    origins = {}
    for name in ORIGINS:
        value = float(observed[name].sum())
        count = count_estimate(value, draws[name].sum(axis=(-2, -1)), cells[0].size, resampling.seed)
        origins[name] = Origin(count, HeadSet.from_grid(observed[name]))
    return origins


def _split_by_origin(
    frequency: "Float[np.ndarray, 'cell *rows layer head']", resampling: Resampling
) -> dict[str, "Bool[np.ndarray, '*rows layer head']"]:
    """Return the heads of each origin, from the inclusion frequencies in the four cells."""
    core, contingent = resampling.core, resampling.contingent
    base_base, base_reasoning, post_base, post_reasoning = frequency
    emergent = (base_base < contingent) & (post_reasoning >= core)
    needs_model = emergent & (base_reasoning < contingent)
    return {
        "emergent": emergent,
        "prompt": emergent & (base_reasoning >= core),
        "model": needs_model & (post_base >= core),
        "both": needs_model & (post_base < core),
        "undecided": emergent & (base_reasoning >= contingent) & (base_reasoning < core),
    }
