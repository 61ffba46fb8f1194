"""Loss once each single head is scaled, on the model's own correct answers: a unit per model and ablation
task."""

from collections.abc import Mapping

from headscope.comparison.head_scaling import head_scaling
from headscope.progress import Progress
from headscope.results.head_scaling import HeadScaling
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.ablation.role_losses import RoleLossesConfig, role_losses_unit
from headscope.studies.ablation.single_heads import load_single_heads

FACTORS = (0.5, 1.5)
"""As far from 1 on either side: the slope between them is that at 1 up to the loss's third derivative."""


MOST_TEXTS = 12
"""Correct answers forced, at most: enough for a test, and fewer than for losses by role, as there are three edits per
head."""


class HeadScalingConfig(RoleLossesConfig):
    """Settings of a sweep of scaled heads: the settings of the losses by role, and how far heads are scaled.

    factors: below and above 1, between which the slope is taken.
    """

    factors: tuple[float, float]


def compute_head_scaling(config: HeadScalingConfig, inputs: Inputs, progress: Progress) -> HeadScaling | NotRun:
    """Return the change of the loss with each head removed, weakened and strengthened, in one sweep."""
    from headscope.interventions import teacher_force

    single = load_single_heads(config, inputs)
    if isinstance(single, NotRun):
        return single
    factors = (0.0, *config.factors)
    edits = single.sweep.edits(*factors)
    losses = teacher_force(single.subject, single.texts, edits, progress=progress).nll
    scaled = losses[1:].reshape(len(factors), len(single.sweep.heads), -1)
    return head_scaling(losses[0], scaled, config.factors, single.sweep)


HEAD_SCALING = Work("head_scaling", HeadScalingConfig, compute_head_scaling)


def head_scaling_unit(ablations: Ablations, sets: Mapping[str, Unit]) -> Unit:
    """Return the unit of one model on one task. sets: the units of the study's head sets, by group."""
    by_role = role_losses_unit(ablations, sets)
    settings = dict(by_role.config) | {"texts": min(ablations.study.ablate.texts, MOST_TEXTS)}
    config = HeadScalingConfig(factors=FACTORS, **settings)
    return HEAD_SCALING.unit(config, by_role.labels, by_role.inputs)
