"""Cross model and prompt: base and final checkpoint also scored with base's openings as the clean text."""

from headscope.comparison import crossed_design
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.runs import Inputs, Unit, Work
from headscope.studies.study_file.config import BootstrapConfig
from headscope.studies.study_file.study import Study

Cells = tuple[Unit, Unit]
"""Scores on base-style and on reasoning-style clean, of one model."""
INPUT_NAMES = ("base base-style", "base", "post base-style", "post")


def compute_crossed(config: BootstrapConfig, inputs: Inputs, progress: Progress) -> Crossed:
    """Return the crossed design: arithmetic on the scores of four cells, with circuits of the comparison's size."""
    fraction = inputs.load("comparison", Comparison).final.fraction
    cells = [inputs.load(name, EdgeScores) for name in INPUT_NAMES]
    return crossed_design((cells[0], cells[1]), (cells[2], cells[3]), config.resampling(fraction))


CROSSED = Work("crossed", BootstrapConfig, compute_crossed, version=6)


def crossed_unit(study: Study, comparison: Unit, base: Cells, post: Cells) -> Unit:
    """Return the unit of the crossed design of a comparison's variant."""
    inputs = dict(zip(INPUT_NAMES, (*base, *post), strict=True)) | {"comparison": comparison}
    return CROSSED.unit(study.bootstrap, dict(comparison.labels), inputs)
