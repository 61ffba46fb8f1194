"""Inclusion frequencies of one model's heads, by both methods of counting emergence.

``bootstrap``: the share of resamples whose pruned circuit holds a head. ``paper``: 1 if the circuit of the pooled
scores holds it, else 0; each resample then also gives 0 or 1.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from headscope.comparison.activity import Activity, head_activity, in_circuit, pooled_margins
from headscope.comparison.resampling import Resampling
from headscope.comparison.status_counts import Frequencies
from headscope.errors import InputError, suggestion
from headscope.results.edges import EdgeScores

EmergenceMethod = Literal["bootstrap", "paper"]
EMERGENCE_METHODS: tuple[EmergenceMethod, ...] = get_args(EmergenceMethod)


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """One model's scores without per-pair edges, which are in ``activity``; that is None if none were kept.

    resampling: the size of its circuits, and how its problems are resampled.
    """

    scores: EdgeScores
    resampling: Resampling
    activity: Activity | None

    def at(self, resampling: Resampling) -> "ScoredModel":
        """Return the model with circuits of another size."""
        activity = None if self.activity is None else self.activity.at(resampling)
        return replace(self, resampling=resampling, activity=activity)


def scored_model(scores: EdgeScores, resampling: Resampling, method: EmergenceMethod) -> ScoredModel:
    """Return a model with its activity; for ``paper`` that may be missing if no per-pair edges were kept.

    Raises InputError for an unknown method, or without per-pair edges for the bootstrap.
    """
    if method not in EMERGENCE_METHODS:
        raise InputError(f"method {method!r} does not exist{suggestion(method, EMERGENCE_METHODS)}")
    if method == "paper" and scores.pair_edges is None:
        return ScoredModel(scores, resampling, None)
    # The activity has its own copy of the per-pair edges; to keep both would double what a comparison holds.
    return ScoredModel(replace(scores, pair_edges=None), resampling, head_activity(scores, resampling))


def inclusion_frequency(model: ScoredModel, method: EmergenceMethod) -> Frequencies:
    """Return the inclusion frequency of every head."""
    activity = model.activity
    if activity is None:
        inside = in_circuit(pooled_margins(model.scores, model.resampling))
        return Frequencies(inside, np.empty((0, *inside.shape)), model.scores.problem_groups.size)
    if method == "paper":
        return Frequencies(in_circuit(activity.pooled_margins), in_circuit(activity.margins), activity.size)
    return Frequencies(activity.frequency, activity.resampled_frequency(), activity.size)
