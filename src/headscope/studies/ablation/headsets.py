"""Head sets of an ablation: a group of the final comparison or of the roles, and random sets matched to it, in
layers or in the base model's importance.

All are known only when the comparison is done, so they are a unit of their own, which every ablation of the group
reads.
"""

from dataclasses import dataclass

from pydantic import Field

from headscope.comparison import head_importance
from headscope.comparison.control_sets import control_sets, sample_importance_matched
from headscope.heads import HeadId, HeadSet, top_heads
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence, Status
from headscope.results.head_roles import HeadRoles
from headscope.results.head_sets import THINK_OFF_ONLY, ControlledHeads, role_of_group
from headscope.results.not_run import NotRun
from headscope.results.thinking import Thinking
from headscope.runs import Inputs, Unit, Work
from headscope.studies.circuits import contrasts, discover
from headscope.studies.models.stages import Stage
from headscope.studies.study_file.ablate import NAMED, HeadGroup
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.study import Study

# What became of a group's heads, under which method; the others are found elsewhere.
GROUPS = {
    "emergent": ("bootstrap", Status.NEW),
    "kept": ("bootstrap", Status.KEPT),
    "lost": ("bootstrap", Status.LOST),
    "paper-emergent": ("paper", Status.NEW),
    "paper-kept": ("paper", Status.KEPT),
    "paper-lost": ("paper", Status.LOST),
}


class HeadSetsConfig(Config):
    """A group of heads (``AblateConfig.heads``), at most how many of it, and how many random sets of either kind.

    step: of the checkpoint whose comparison names them; None for the last.
    named: the heads of the group ``named``.
    """

    variant: str
    group: HeadGroup
    named: tuple[str, ...] = Field(default=(), exclude_if=lambda named: not named)
    step: int | None = Field(default=None, exclude_if=lambda step: step is None)
    at_most: int | None
    controls: int
    seed: int


def compute_head_sets(config: HeadSetsConfig, inputs: Inputs, progress: Progress) -> ControlledHeads | NotRun:
    """Return the group's heads and its random sets.

    The heads are those of the input ``comparison``; for ``recall`` those with most score in the input ``recall``,
    scores on a recall task; for ``new-induction`` and the like those that took up the role in the input ``roles``; for
    ``think-off-only`` those that only think-off has in the input ``thinking``; for ``named`` those of the study. Raises
    InputError if the model has no such head.
    """
    importance = head_importance(inputs.load("base", EdgeScores)).value
    group, heads, caveat = _find_heads(config, inputs)
    heads.grid(*importance.shape)
    if not heads:
        place = "its last checkpoint" if config.step is None else f"step {config.step}"
        role = role_of_group(config.group)
        group_words = f"{config.group} heads" if role is None else f"heads that took up the role {role}"
        return NotRun(f"{config.variant} has no {group_words} at {place}: nothing to ablate")
    # A larger group's other heads changed too: they are no controls.
    rest = group - heads
    controls, neighbouring = control_sets(heads, rest, importance, config.controls, config.seed)
    layers, width = importance.shape
    return ControlledHeads(
        heads=heads,
        controls=controls,
        importance_controls=tuple(sample_importance_matched(heads, rest, importance, config.controls, config.seed)),
        shape=(layers, width),
        caveat=caveat,
        neighbouring=neighbouring,
    )


HEAD_SETS = Work("headsets", HeadSetsConfig, compute_head_sets, version=4)


@dataclass(frozen=True)
class HeadSources:
    """Units that name a variant's heads.

    base: the model the variant is compared with. stage: the checkpoint they are of. step: its step; None for the last.
    comparison: of the variant.
    thinking: with its think-on mode; None if it is no think-off variant of a pair.
    roles: of its heads, in the first task's answers; None if they are not read.
    """

    base: Stage
    stage: Stage
    step: int | None
    comparison: Unit
    thinking: Unit | None
    roles: Unit | None

    def groups(self, study: Study) -> list[HeadGroup]:
        """Return the groups that this variant can have."""
        return [group for group in study.ablate.heads if group != THINK_OFF_ONLY or self.thinking is not None]

    def sets(self, study: Study, group: HeadGroup) -> Unit:
        """Return the unit of a group's heads and random sets."""
        settings, variant = study.ablate, self.stage.variant
        config = HeadSetsConfig(
            variant=variant,
            group=group,
            named=tuple(HeadSet.of(settings.named).names()) if group == NAMED else (),
            step=self.step,
            at_most=settings.at_most,
            controls=settings.controls,
            seed=study.seed,
        )
        inputs = {"comparison": self.comparison, "base": self.comparison.inputs["base"]}
        if group == "recall":
            inputs["recall"] = self._recall_scores(study)
        elif group == THINK_OFF_ONLY:
            assert self.thinking is not None  # ``groups`` has left it out
            inputs["thinking"] = self.thinking
        elif role_of_group(group) is not None:
            assert self.roles is not None  # the study was refused otherwise
            inputs["roles"] = self.roles
        labels = {"variant": variant, "heads": group} | ({} if self.step is None else {"step": self.step})
        return HEAD_SETS.unit(config, labels, inputs)

    def _recall_scores(self, study: Study) -> Unit:
        """Return the stage's edge scores on openings of the guard's problems: knowledge without reasoning."""
        pairs = contrasts.recall_unit(study, self.base, self.stage)
        return discover.scores_unit(study, self.stage, self.stage.variant, pairs)


def _find_heads(config: HeadSetsConfig, inputs: Inputs) -> tuple[HeadSet, HeadSet, str]:
    """Return all heads of the group, those of them to be removed, and what is to be said of their circuit."""
    if config.group == "recall":
        scores = inputs.load("recall", EdgeScores)
        heads = HeadSet.of(top_heads(scores.head_importance, config.at_most))
        return heads, heads, ""
    if config.group == NAMED:
        heads = HeadSet.of(config.named)
        return heads, heads, ""
    role = role_of_group(config.group)
    if role is not None:
        return (*_new_players(inputs.load("roles", HeadRoles), role, config.at_most), "")
    if config.group == THINK_OFF_ONLY:
        thinking = inputs.load("thinking", Thinking)
        # Think-off is the base of this comparison, so what only it has is lost to think-on.
        status, result = Status.LOST, thinking.change
        caveat = "" if thinking.circuit is None else thinking.circuit.describe_fault("with thinking off", "with it on")
    else:
        comparison = inputs.load("comparison", Comparison)
        method, status = GROUPS[config.group]
        index = -1 if config.step is None else comparison.steps.index(config.step)
        result = (comparison.emergence if method == "bootstrap" else comparison.paper)[index]
        caveat = "" if comparison.circuit is None else comparison.circuit.caveat
    group = result.heads(status)
    return group, _most_changed(group, result, config.at_most), caveat


def _new_players(roles: HeadRoles, role: str, count: int | None) -> tuple[HeadSet, HeadSet]:
    """Return the heads that took up a role or took it over, and the ``count`` of them whose attention changed most."""
    players = [label.head for label in roles.labels if label.role == role and label.change in ("gained", "moved")]
    if not players:
        return HeadSet(()), HeadSet(())
    change = roles.change[roles.roles.index(role)]
    return HeadSet.of(players), HeadSet.of(sorted(players, key=lambda head: -change[head])[:count])


def _most_changed(heads: HeadSet, result: Emergence, count: int | None) -> HeadSet:
    """Return the ``count`` heads of the set whose share of all net score training changed most."""
    change = abs(result.importance_change.value)

    def size(head: HeadId) -> float:
        return float(change[head.layer, head.head])

    return HeadSet.of(sorted(heads, key=size, reverse=True)[:count])
