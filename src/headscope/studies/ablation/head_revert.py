"""Loss once each single head has the base's weights again, on the model's own correct answers: a unit per
model and ablation task."""

from collections.abc import Mapping

from headscope.comparison.head_revert import head_revert
from headscope.errors import InputError
from headscope.operator_names import SharedKv
from headscope.progress import Progress
from headscope.results.head_revert import HeadRevert
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.ablation.role_losses import RoleLossesConfig, role_losses_unit
from headscope.studies.ablation.single_heads import load_single_heads
from headscope.studies.models.stages import ModelSource


class HeadRevertConfig(RoleLossesConfig):
    """Settings of a sweep of reverted heads: the settings of the losses by role, and where the weights come from.

    donor: the base, whose weights a head takes. revert_kv: as in ``AblateConfig``.
    """

    donor: ModelSource
    revert_kv: SharedKv


def compute_head_revert(config: HeadRevertConfig, inputs: Inputs, progress: Progress) -> HeadRevert | NotRun:
    """Return the change of the loss with each head reverted, in one sweep."""
    from headscope.interventions import DonorWeights, Replacement, teacher_force
    from headscope.studies.models.subjects import load

    single = load_single_heads(config, inputs)
    if isinstance(single, NotRun):
        return single
    donor = load(config.donor.stage(inputs))
    try:
        weights = Replacement(DonorWeights.of(single.subject, donor, config.revert_kv))
    except InputError as error:  # nobody asked for this map by name, so that a pair of models may be without it
        return NotRun(str(error))
    edits = single.sweep.edits(0.0)
    losses = teacher_force(single.subject, single.texts, edits, replacement=weights, progress=progress).nll
    return head_revert(losses[0], losses[1:], single.sweep, revert_kv=config.revert_kv)


HEAD_REVERT = Work("head_revert", HeadRevertConfig, compute_head_revert)


def head_revert_unit(ablations: Ablations, sets: Mapping[str, Unit]) -> Unit:
    """Return the unit of one trained model on one task. sets: the units of the study's head sets, by group."""
    by_role = role_losses_unit(ablations, sets)
    config = HeadRevertConfig(
        donor=ablations.donor.source, revert_kv=ablations.study.ablate.revert_kv, **dict(by_role.config)
    )
    return HEAD_REVERT.unit(config, by_role.labels, {**ablations.donor.inputs, **by_role.inputs})
