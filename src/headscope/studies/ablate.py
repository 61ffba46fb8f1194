"""Ask of every head set whether it matters, and for what: verdicts and kinds of failure on generated answers, evidence
and losses by role from teacher forcing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headscope.runs import Unit
from headscope.studies import contrasts, discover
from headscope.studies.ablated import Ablations
from headscope.studies.evidence import evidence_unit
from headscope.studies.failures import failures_unit
from headscope.studies.head_scaling import head_scaling_unit
from headscope.studies.headsets import head_sets_unit
from headscope.studies.role_losses import role_losses_unit
from headscope.studies.stages import Stage
from headscope.studies.study import HeadGroup, Study, TaskRef


@dataclass(frozen=True)
class Sweep:
    """One variant's last checkpoint on one task.

    base: the model it is compared with.
    """

    study: Study
    base: Stage
    stage: Stage
    comparison: Unit
    ref: TaskRef

    def units(self) -> Iterator[Unit]:
        """Yield verdicts, kinds of failure, evidence and losses by role; what they need hangs on them."""
        settings = self.study.ablate
        post = Ablations(self.study, self.stage, self.base, self.ref)
        base = Ablations(self.study, self.base, self.stage, self.ref)
        guard = None if settings.guard is None else replace(post, ref=settings.guard)
        # Units are named by their digest: sets, whole answers and constants that several of them need are one unit.
        groups: dict[str, Unit] = {group: self._sets(group) for group in settings.heads}
        for sets in groups.values():
            for operator in (*settings.generated, *(f"x{scale:g}" for scale in settings.generated_scales)):
                verdict = post.verdict(sets, operator)
                yield verdict
                yield failures_unit(post, verdict)
            yield evidence_unit(post, base, sets, guard)
        if groups:
            yield role_losses_unit(post, groups)
            if self.study.discover.effects:
                yield head_scaling_unit(post, groups)

    def _sets(self, group: HeadGroup) -> Unit:
        recall = self._recall_scores() if group == "recall" else None
        return head_sets_unit(self.study, self.stage.variant, group, self.comparison, recall)

    def _recall_scores(self) -> Unit:
        """Return the stage's edge scores on openings of the guard's problems: knowledge without reasoning."""
        pairs = contrasts.recall_unit(self.study, self.base, self.stage)
        return discover.scores_unit(self.study, self.stage, self.stage.variant, pairs)
