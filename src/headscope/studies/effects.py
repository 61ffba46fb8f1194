"""Effects of every variant's training on every head, and how alike the variants' final circuits are."""

from collections.abc import Mapping
from dataclasses import dataclass

from headscope.comparison import effects
from headscope.comparison.circuit_overlap import circuit_overlaps, final_circuits
from headscope.comparison.equal_faithfulness import FAITHFULNESS
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.overlap import EffectMap
from headscope.runs import Inputs, Unit, Work
from headscope.studies.config import BootstrapConfig
from headscope.studies.study import Study


@dataclass(frozen=True)
class FinalUnits:
    """Units of one variant: its comparison, and scores and faithfulness of its final checkpoint."""

    comparison: Unit
    scores: Unit
    curve: Unit


class EffectsConfig(BootstrapConfig):
    """variants: in the study's order. faithfulness: of the circuits that are compared at equal faithfulness."""

    variants: tuple[str, ...]
    faithfulness: float


def compute_effects(config: EffectsConfig, inputs: Inputs, progress: Progress) -> EffectMap:
    """Return the effects: arithmetic on saved comparisons, scores and curves."""
    grids, finals = {}, []
    for name in config.variants:
        comparison = inputs.load(f"{name} comparison", Comparison)
        grids[name] = effects(list(comparison.emergence))
        scores = inputs.load(f"{name} scores", EdgeScores)
        curve = inputs.load(f"{name} curve", FaithfulnessCurve)
        finals.append(final_circuits(name, scores, curve, config.resampling(comparison.final.fraction)))
    return EffectMap(grids, circuit_overlaps(finals), config.faithfulness)


EFFECTS = Work("effects", EffectsConfig, compute_effects, version=5)


def effects_unit(study: Study, variants: Mapping[str, FinalUnits]) -> Unit:
    """Return the unit of a study's effects."""
    # In the study's order, which is the order of the pairs of variants.
    inputs: dict[str, Unit] = {}
    for name, units in variants.items():
        inputs |= {f"{name} comparison": units.comparison, f"{name} scores": units.scores}
        inputs[f"{name} curve"] = units.curve
    bootstrap = study.bootstrap.model_dump()
    config = EffectsConfig(variants=tuple(variants), faithfulness=FAITHFULNESS, **bootstrap)
    return EFFECTS.unit(config, {}, inputs)
