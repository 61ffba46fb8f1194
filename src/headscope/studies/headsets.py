"""Which heads an ablation removes: a group of the final comparison, and random sets matched to it, in layers or in the
base model's importance.

All are known only when the comparison is done, so they are a unit of their own, which every ablation of the group
reads.
"""

import numpy as np
from jaxtyping import Float

from headscope.comparison import head_importance, matched_random_sets
from headscope.comparison.importance_matched import importance_matched_sets
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet, top_heads
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence, Status
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, Unit, Work
from headscope.studies.config import Config
from headscope.studies.study import HeadGroup, Study

# What became of a group's heads, under which method; ``recall`` is found elsewhere.
GROUPS = {
    "emergent": ("bootstrap", Status.NEW),
    "kept": ("bootstrap", Status.KEPT),
    "lost": ("bootstrap", Status.LOST),
    "paper-emergent": ("paper", Status.NEW),
    "paper-kept": ("paper", Status.KEPT),
    "paper-lost": ("paper", Status.LOST),
}


class HeadSetsConfig(Config):
    """A group of heads (``AblateConfig.heads``), at most how many of it, and how many random sets of either kind."""

    variant: str
    group: HeadGroup
    at_most: int | None
    controls: int
    seed: int


def compute_head_sets(config: HeadSetsConfig, inputs: Inputs, progress: Progress) -> ControlledHeads | NotRun:
    """Return the group's heads and its random sets, from the input ``comparison``.

    For ``recall``, the heads with most score in the input ``recall``, scores on a recall task.
    """
    importance = head_importance(inputs.load("base", EdgeScores)).value
    caveat = ""
    if config.group == "recall":
        scores = inputs.load("recall", EdgeScores)
        group = heads = HeadSet.of(top_heads(scores.head_importance, config.at_most))
    else:
        method, status = GROUPS[config.group]
        comparison = inputs.load("comparison", Comparison)
        result = comparison.final if method == "bootstrap" else comparison.paper[-1]
        group = result.heads(status)
        heads = _most_changed(group, result, config.at_most)
        caveat = "" if comparison.circuit is None else comparison.circuit.caveat
    if not heads:
        return NotRun(f"{config.variant} has no {config.group} heads at its last checkpoint: nothing to ablate")
    # A larger group's other heads changed too: they are no controls.
    rest = group - heads
    layers, width = importance.shape
    return ControlledHeads(
        heads=heads,
        controls=tuple(sample_matched_sets(heads, rest, (layers, width), config.controls, config.seed)),
        importance_controls=tuple(_sample_like_sets(heads, rest, importance, config.controls, config.seed)),
        shape=(layers, width),
        caveat=caveat,
    )


HEAD_SETS = Work("headsets", HeadSetsConfig, compute_head_sets, version=3)


def head_sets_unit(study: Study, variant: str, group: HeadGroup, comparison: Unit, recall: Unit | None = None) -> Unit:
    """Return the unit of a group's heads and random sets. recall: scores on the guard's openings, for that group."""
    settings = study.ablate
    config = HeadSetsConfig(
        variant=variant, group=group, at_most=settings.at_most, controls=settings.controls, seed=study.seed
    )
    inputs = {"comparison": comparison, "base": comparison.inputs["base"]}
    inputs |= {} if recall is None else {"recall": recall}
    return HEAD_SETS.unit(config, {"variant": variant, "heads": group}, inputs)


def _most_changed(heads: HeadSet, result: Emergence, count: int | None) -> HeadSet:
    """Return the ``count`` heads of the set whose share of all net score training changed most."""
    change = abs(result.importance_change.value)

    def size(head: HeadId) -> float:
        return float(change[head.layer, head.head])

    return HeadSet.of(sorted(heads, key=size, reverse=True)[:count])


def sample_matched_sets(heads: HeadSet, rest: HeadSet, shape: tuple[int, int], count: int, seed: int) -> list[HeadSet]:
    """Return random sets with as many heads in every layer, without the group's ``rest`` if enough sets remain.

    Fewer if fewer exist; none if the layers hold no other heads.
    """
    layers, width = shape
    sets: list[HeadSet] = []
    for exclude in (rest, HeadSet(())):
        try:
            sets = list(matched_random_sets(heads, layers, width, count, seed, exclude=exclude)) if heads else []
        except InputError:  # no other set: without controls the verdict is undecided, and says so
            sets = []
        if len(sets) == count:
            break
    return sets


def _sample_like_sets(
    heads: HeadSet, rest: HeadSet, importance: Float[np.ndarray, "layer head"], count: int, seed: int
) -> list[HeadSet]:
    """Return random sets of like importance; none if too few other heads are left."""
    try:
        return list(importance_matched_sets(heads, importance, count, seed, exclude=rest))
    except InputError:
        return []
