"""Effect of training on every head: exact effects of base, last checkpoint and null twins on a variant's pairs,
their differences, and the mean over the seeds of a recipe.

Heads are counted on the ``main`` pairs and patched on the ``fresh`` ones, which are of other problems.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from headscope.comparison import pool_training_effects, training_effects
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.head_scores import HeadScores
from headscope.results.training_effects import PooledEffects, TrainingEffects
from headscope.runs import Inputs, Unit, Work
from headscope.runs.recipes import missing_signal, null_twins, recipe, seeds_of, variants_by_name
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.study import Study


class HeadScoresConfig(Config):
    """A model, and the metric by which its heads are patched (``DiscoverConfig``)."""

    model: ModelSource
    metric: str


def compute_head_scores(config: HeadScoresConfig, inputs: Inputs, progress: Progress) -> HeadScores:
    """Return the exact score of every head on the input ``pairs``: each one's output replaced by its corrupt one."""
    from headscope.circuits import exact_heads
    from headscope.studies.models.subjects import load

    subject, pairs = load(config.model.stage(inputs)), inputs.load("pairs", Pairs)
    scores = exact_heads(subject, pairs, config.metric, progress=progress)
    # As in ``discover.compute_scores``: neither a path nor a time ties the result to this machine.
    portable = scores.settings | {"model": f"{config.model.name} step {config.model.step}"}
    return replace(scores, settings=portable, seconds=math.nan)


HEAD_SCORES = Work("head_scores", HeadScoresConfig, compute_head_scores)


class TrainingEffectsConfig(Config):
    """The checkpoint whose effects are compared with those of the base and of its null twins.

    variant, step: of the last checkpoint. recipe, null: see ``TrainingEffects``. twins: null twins, by name.
    """

    variant: str
    step: int
    recipe: str
    null: str
    twins: tuple[str, ...]


def compute_training_effects(config: TrainingEffectsConfig, inputs: Inputs, progress: Progress) -> TrainingEffects:
    """Return the differences of exact effects: arithmetic on saved head scores."""
    final = inputs.load("comparison", Comparison).final
    return training_effects(
        config.variant,
        config.step,
        base=inputs.load("base", HeadScores),
        post=inputs.load("post", HeadScores),
        twins={name: inputs.load(f"twin {name}", HeadScores) for name in config.twins},
        head_sets={"new": final.new, "kept": final.kept, "lost": final.lost},
        edge_scores=inputs.load("base scores", EdgeScores),
        recipe=config.recipe,
        null=config.null,
    )


TRAINING_EFFECTS = Work("training_effects", TrainingEffectsConfig, compute_training_effects)


class PooledEffectsConfig(Config):
    """The ``variants`` that are the runs of one recipe, in the study's order."""

    variants: tuple[str, ...]


def compute_pooled_effects(config: PooledEffectsConfig, inputs: Inputs, progress: Progress) -> PooledEffects:
    """Return the mean over seeds: arithmetic on saved training effects."""
    return pool_training_effects([inputs.load(name, TrainingEffects) for name in config.variants])


POOLED_EFFECTS = Work("pooled_effects", PooledEffectsConfig, compute_pooled_effects)


@dataclass(frozen=True)
class EffectSources:
    """Models and pairs that the effects of one variant's training are measured on.

    base, final: its models. pairs: of other problems than those its heads were counted on. base_scores: attribution of
    the base on these pairs. comparison: which heads were counted.
    """

    base: Stage
    final: Stage
    pairs: Unit
    base_scores: Unit
    comparison: Unit


def training_effects_units(study: Study, sources: Mapping[str, EffectSources]) -> Iterator[Unit]:
    """Yield the training effects of every variant, and their mean over the seeds of every recipe that has several."""
    variants = variants_by_name(study.model_dump(mode="json"))
    effects = {}
    for name in sources:
        # A twin at rate 0 is the base: its training effects are 0, and nothing is subtracted.
        twins = [twin for twin in null_twins(name, variants) if missing_signal(variants[twin]) != "lr0"]
        config = TrainingEffectsConfig(
            variant=name,
            step=sources[name].final.step,
            recipe=recipe(name, variants),
            null=missing_signal(variants[name]),
            twins=tuple(twins),
        )
        effects[name] = _effects_unit(study, config, sources)
        yield effects[name]
    for name, runs in seeds_of(variants).items():
        if len(runs) > 1:
            inputs = {run: effects[run] for run in runs}
            yield POOLED_EFFECTS.unit(PooledEffectsConfig(variants=tuple(runs)), {"variant": name}, inputs)


def _effects_unit(study: Study, config: TrainingEffectsConfig, sources: Mapping[str, EffectSources]) -> Unit:
    own = sources[config.variant]
    inputs = {
        "base": _head_scores_unit(study, own.base, own.pairs),
        "post": _head_scores_unit(study, own.final, own.pairs),
        "base scores": own.base_scores,
        "comparison": own.comparison,
    }
    for twin in config.twins:
        inputs[f"twin {twin}"] = _head_scores_unit(study, sources[twin].final, own.pairs)
    return TRAINING_EFFECTS.unit(config, {"variant": config.variant}, inputs)


def _head_scores_unit(study: Study, stage: Stage, pairs: Unit) -> Unit:
    config = HeadScoresConfig(model=stage.source, metric=study.discover.metric)
    labels = pairs.labels | {"step": stage.step, "model": stage.variant}
    return HEAD_SCORES.unit(config, labels, {"pairs": pairs} | stage.inputs)
