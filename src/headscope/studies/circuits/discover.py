"""Discover circuits: edge scores of every stage of a variant on the variant's pairs, and how faithful its circuits
are.
"""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from headscope.measures.intervals import bootstraps
from headscope.measures.quadrature import Rule
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve, FaithfulnessEstimates
from headscope.runs import Inputs, Unit, Work
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.study import Study


class ScoresConfig(Config):
    """A model, and how its edges are attributed (``DiscoverConfig``)."""

    model: ModelSource
    metric: str
    method: str
    rule: Rule
    nodes: int | Literal["adaptive"]
    tolerance: float | None
    kv: str


def compute_scores(config: ScoresConfig, inputs: Inputs, progress: Progress) -> EdgeScores:
    """Return edge scores on the input ``pairs``, kept per pair so that every bootstrap is arithmetic."""
    from headscope.circuits import attribute
    from headscope.studies.models.subjects import load

    settings = config.model_dump(exclude={"model"})
    subject, pairs = load(config.model.stage(inputs)), inputs.load("pairs", Pairs)
    scores = attribute(subject, pairs, **settings, keep_pairs=True, progress=progress)
    # By the study's name for it: a path would tie the result to this machine. The unit's record keeps the seconds.
    portable = scores.settings | {"model": f"{config.model.name} step {config.model.step}"}
    return replace(scores, settings=portable, seconds=math.nan)


SCORES = Work("scores", ScoresConfig, compute_scores, version=3)


class FaithfulnessConfig(Config):
    """A model, and the sizes of circuit at which its faithfulness is measured.

    sizes: fractions of all edges. edges: a number of edges besides. areas: fractions that CPR and CMD are taken over.
    """

    model: ModelSource
    metric: str
    sizes: tuple[float, ...]
    edges: int | None
    areas: tuple[float, ...]
    seed: int


def compute_faithfulness(
    config: FaithfulnessConfig, inputs: Inputs, progress: Progress
) -> tuple[FaithfulnessCurve, FaithfulnessEstimates]:
    """Return how much of the behaviour the circuits of the input ``scores`` carry alone, per pair and on average."""
    from headscope.circuits import faithfulness_curve
    from headscope.studies.models.subjects import load

    scores, pairs = inputs.load("scores", EdgeScores), inputs.load("pairs", Pairs)
    subject = load(config.model.stage(inputs))
    sizes = set(config.sizes) if config.edges is None else {*config.sizes, scores.graph.edge_share(config.edges)}
    fractions = tuple(sorted(sizes))
    curve = faithfulness_curve(subject, pairs, scores, config.metric, fractions=fractions, progress=progress)
    curve = replace(curve, settings=curve.settings | {"model": scores.settings["model"]})
    areas = curve.take(config.areas)

    def statistics(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " statistic"]:
        return np.append(curve.normalised(weights), [areas.cpr(weights), areas.cmd(weights)])

    *normalised, cpr, cmd = bootstraps(statistics, curve.problem_groups, seed=config.seed)
    estimates = FaithfulnessEstimates(config.metric, fractions, curve.edges, tuple(normalised), cpr, cmd)
    return curve, estimates


FAITHFULNESS = Work("faithfulness", FaithfulnessConfig, compute_faithfulness, version=3)


def scores_unit(study: Study, stage: Stage, variant: str, pairs: Unit) -> Unit:
    """Return the unit of the edge scores of ``stage`` on a set of ``variant``'s pairs."""
    settings = study.discover.model_dump(include={"metric", "method", "rule", "nodes", "tolerance", "kv"})
    labels = {"variant": variant, "step": stage.step, "pairs": pairs.labels["pairs"], "model": stage.variant}
    return SCORES.unit(ScoresConfig(model=stage.source, **settings), labels, {"pairs": pairs} | stage.inputs)


def faithfulness_unit(study: Study, stage: Stage, scores: Unit) -> Unit:
    """Return the unit of the faithfulness of ``scores``' circuits, at the study's sizes and its circuit size."""
    settings = study.discover
    config = FaithfulnessConfig(
        model=stage.source,
        metric=settings.metric,
        # The circuit's own size is read too, but CPR and CMD keep to the sizes that were asked for.
        sizes=tuple(sorted({*settings.sizes} | ({settings.fraction} - {None}))),
        edges=settings.edges,
        areas=tuple(sorted(settings.sizes)),
        seed=study.seed,
    )
    return FAITHFULNESS.unit(config, dict(scores.labels), {"scores": scores, **scores.inputs})
