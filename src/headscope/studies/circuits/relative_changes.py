"""Relative changes of every head's importance (the paper's E), and how alike the variants' final circuits are."""

from collections.abc import Mapping
from dataclasses import dataclass

from headscope.comparison import relative_changes
from headscope.comparison.circuit_overlap import circuit_overlaps, final_circuits
from headscope.comparison.equal_faithfulness import FAITHFULNESS
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.overlap import RelativeChanges
from headscope.runs import Inputs, Unit, Work
from headscope.studies.study_file.config import BootstrapConfig
from headscope.studies.study_file.study import Study


@dataclass(frozen=True)
class FinalUnits:
    """Units of one variant: its comparison, and scores and faithfulness of its final checkpoint."""

    comparison: Unit
    scores: Unit
    curve: Unit


class RelativeChangesConfig(BootstrapConfig):
    """The variants that are compared, and the bootstrap over their pairs.

    variants: in the study's order. faithfulness: of the circuits that are compared at equal faithfulness.
    """

    variants: tuple[str, ...]
    faithfulness: float


def compute_relative_changes(config: RelativeChangesConfig, inputs: Inputs, progress: Progress) -> RelativeChanges:
    """Return the changes: arithmetic on saved comparisons, scores and curves."""
    grids, finals = {}, []
    for name in config.variants:
        comparison = inputs.load(f"{name} comparison", Comparison)
        grids[name] = relative_changes(list(comparison.emergence))
        scores = inputs.load(f"{name} scores", EdgeScores)
        curve = inputs.load(f"{name} curve", FaithfulnessCurve)
        finals.append(final_circuits(name, scores, curve, config.resampling(comparison.final.fraction)))
    return RelativeChanges(grids, circuit_overlaps(finals), config.faithfulness)


# Its kind is what runs on disk call it.
RELATIVE_CHANGES = Work("effects", RelativeChangesConfig, compute_relative_changes, version=6)


def relative_changes_unit(study: Study, variants: Mapping[str, FinalUnits]) -> Unit:
    """Return the unit of a study's relative changes."""
    # In the study's order, which is the order of the pairs of variants.
    inputs: dict[str, Unit] = {}
    for name, units in variants.items():
        inputs |= {f"{name} comparison": units.comparison, f"{name} scores": units.scores}
        inputs[f"{name} curve"] = units.curve
    bootstrap = study.bootstrap.model_dump()
    config = RelativeChangesConfig(variants=tuple(variants), faithfulness=FAITHFULNESS, **bootstrap)
    return RELATIVE_CHANGES.unit(config, {}, inputs)
