"""Cross model and prompt: base and final checkpoint also scored with base's openings as the clean text."""

from headscope.comparison import crossed_design
from headscope.progress import Progress
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.runs import Inputs, Unit, Work
from headscope.studies.config import BootstrapConfig
from headscope.studies.study import Study

Cells = tuple[Unit, Unit]
"""Scores on base-style and on reasoning-style clean, of one model."""
ROLES = ("base base-style", "base", "post base-style", "post")


def compute_crossed(config: BootstrapConfig, inputs: Inputs, progress: Progress) -> Crossed:
    """Return the crossed design: arithmetic on the scores of four cells."""
    cells = [inputs.load(role, EdgeScores) for role in ROLES]
    return crossed_design((cells[0], cells[1]), (cells[2], cells[3]), config.resampling)


CROSSED = Work("crossed", BootstrapConfig, compute_crossed, version=4)


def crossed_unit(study: Study, variant: str, base: Cells, post: Cells) -> Unit:
    """Return the unit of a variant's crossed design."""
    inputs = dict(zip(ROLES, (*base, *post), strict=True))
    return CROSSED.unit(study.bootstrap, {"variant": variant}, inputs)
