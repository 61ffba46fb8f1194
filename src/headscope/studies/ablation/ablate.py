"""Ask of every head set whether it matters, and for what: verdicts and kinds of failure on generated answers, evidence
and losses by role from teacher forcing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headscope.runs import Unit
from headscope.runs.recipes import BASE
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.ablation.evidence import evidence_unit
from headscope.studies.ablation.failures import failures_unit
from headscope.studies.ablation.head_revert import head_revert_unit
from headscope.studies.ablation.head_scaling import head_scaling_unit
from headscope.studies.ablation.headsets import HeadSources
from headscope.studies.ablation.role_losses import role_losses_unit
from headscope.studies.models.stages import Stage
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study


@dataclass(frozen=True)
class Sweep:
    """One variant's heads on one task, removed in the variant's checkpoint, in the base, or in either in turn.

    base: the model the variant is compared with.
    """

    study: Study
    base: Stage
    sources: HeadSources
    ref: TaskRef

    def units(self) -> Iterator[Unit]:
        """Yield verdicts, kinds of failure, evidence and losses by role; what they need hangs on them."""
        study, settings = self.study, self.study.ablate
        post, base = self._ablations(self.sources.stage, self.base), self._ablations(self.base, self.sources.stage)
        # Units are named by their digest: sets, whole answers and constants that several of them need are one unit.
        groups: dict[str, Unit] = {group: self.sources.sets(study, group) for group in self.sources.groups(study)}
        for sets in groups.values():
            if "post" in settings.on:
                yield from self._units_of_model(post, base, sets)
            if "base" in settings.on:
                yield from self._units_of_model(base, None, sets)
        if groups and "post" in settings.on:
            yield role_losses_unit(post, groups)
            if self.study.discover.effects:
                yield head_scaling_unit(post, groups)
                yield head_revert_unit(post, groups)

    def _units_of_model(self, edited: Ablations, base: Ablations | None, sets: Unit) -> Iterator[Unit]:
        """Yield what is asked of one set in one model. base: whose answers to the same are compared."""
        settings = self.study.ablate
        for operator in (*settings.generated, *(f"x{scale:g}" for scale in settings.generated_scales)):
            verdict = edited.verdict(sets, operator)
            yield verdict
            yield failures_unit(edited, verdict)
        guard = None if settings.guard is None else replace(edited, ref=settings.guard)
        yield evidence_unit(edited, base, sets, guard)

    def _ablations(self, stage: Stage, donor: Stage) -> Ablations:
        return Ablations(self.study, stage, donor, self.ref, None if stage.variant == BASE else self.sources.step)
