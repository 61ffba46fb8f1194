"""Model against prompt: the crossed design {base, post} × {base-style clean, reasoning-style clean} (method section 2).

The paper holds base on its own prompt against post on its own, so that a head can look new because the prompt is. Here
both models are scored on both prompts, the same texts with clean and corrupt exchanged:

1. Effects on each head's importance, free of any threshold: of the model, of the prompt, and their interaction.
2. The heads the confounded comparison calls new are parted by what it takes to see them.

The cells are resampled alike, pair by pair: a pair's noise is in all four.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from headscope.comparison.activity import Activity, head_activity
from headscope.comparison.compatible import require_alike, require_other_pairs, require_same_pairs
from headscope.comparison.effects import contrast, pair_sums, shares
from headscope.comparison.resampling import Resampling
from headscope.comparison.tally import count_estimate
from headscope.heads import HeadSet
from headscope.measures.multiplicity import q_values
from headscope.results.crossed import EFFECTS, ORIGINS, Crossed, Origin
from headscope.results.edges import EdgeScores

_CELLS = ("base base-style", "base reasoning-style", "post base-style", "post reasoning-style")
_WEIGHTS = {
    "model": (-0.5, -0.5, 0.5, 0.5),
    "prompt": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
"""What each effect takes from the cells, in the order of ``_CELLS``."""


def crossed(
    base: tuple[EdgeScores, EdgeScores], post: tuple[EdgeScores, EdgeScores], how: Resampling = Resampling()
) -> Crossed:
    """Both models, each on (base-style, reasoning-style) clean; all four cells need per-pair edges.

    Raises InputError where graphs, vocabularies or ways of scoring differ, the models of one prompt were scored on
    different pairs, or both prompts are one.
    """
    for one, other in zip(base, post, strict=True):
        require_alike(one, other, "the post-trained model")
        require_same_pairs(one, other)
    require_other_pairs(base[1], base[0], "the reasoning-style prompt", "the base-style one")
    cells = (*base, *post)
    effects = {name: contrast(cells, _WEIGHTS[name]) for name in EFFECTS}
    importance = np.stack([shares(pair_sums(cell).mean(axis=0)) for cell in cells])
    return Crossed(
        importance=importance.reshape(2, 2, *importance.shape[1:]),
        effects=effects,
        q_value=q_values(np.stack([np.asarray(effects[name].p_value, dtype=np.float64) for name in EFFECTS])),
        origins=_origins([head_activity(cell, how) for cell in cells], how),
        pairs=len(base[0].pair_heads),
        fraction=how.fraction,
        resamples=how.resamples,
        seed=how.seed,
        settings={name: cell.settings for name, cell in zip(_CELLS, cells, strict=True)},
    )


def _origins(cells: Sequence[Activity], how: Resampling) -> dict[str, Origin]:
    """Counts and names of each origin, as observed and in every resample."""
    observed = _parted(np.stack([cell.frequency for cell in cells]), how)
    drawn = _parted(np.stack([cell.resampled_frequency() for cell in cells]), how)
    return {
        name: Origin(
            count_estimate(float(observed[name].sum()), drawn[name].sum(axis=(-2, -1)), cells[0].pairs, how.seed),
            HeadSet.from_grid(observed[name]),
        )
        for name in ORIGINS
    }


def _parted(
    frequency: "Float[np.ndarray, 'cell *rows layer head']", how: Resampling
) -> dict[str, "Bool[np.ndarray, '*rows layer head']"]:
    """Which heads have each origin, from the inclusion frequencies in the four cells."""
    before, prompted, trained, both = frequency
    emergent = (before < how.contingent) & (both >= how.core)
    needs_model = emergent & (prompted < how.contingent)
    return {
        "emergent": emergent,
        "prompt": emergent & (prompted >= how.core),
        "model": needs_model & (trained >= how.core),
        "both": needs_model & (trained < how.core),
        "undecided": emergent & (prompted >= how.contingent) & (prompted < how.core),
    }
