"""Ask of every head set whether it matters: verdicts on generated answers, evidence from teacher forcing."""

from collections.abc import Iterator
from dataclasses import dataclass

from headscope.runs import Unit
from headscope.studies import contrasts, discover
from headscope.studies.ablated import Ablations
from headscope.studies.evidence import evidence_unit
from headscope.studies.headsets import head_sets_unit
from headscope.studies.stages import Stage, base_stage
from headscope.studies.study import HeadGroup, Study, TaskRef


@dataclass(frozen=True)
class Sweep:
    """One variant's last checkpoint on one task."""

    study: Study
    stage: Stage
    comparison: Unit
    ref: TaskRef

    def units(self) -> Iterator[Unit]:
        """Yield verdicts and evidence; what they need hangs on them."""
        settings = self.study.ablate
        base_model = base_stage(self.study)
        post, base = Ablations(self.study, self.stage, self.ref), Ablations(self.study, base_model, self.ref)
        guard = None if settings.guard is None else Ablations(self.study, self.stage, settings.guard)
        for group in settings.heads:
            # Units are named by their digest: sets, whole answers and constants that several of them need are one unit.
            sets = self._sets(group)
            for operator in (*settings.generated, *(f"x{scale:g}" for scale in settings.generated_scales)):
                yield post.verdict(sets, operator)
            yield evidence_unit(post, base, sets, guard)

    def _sets(self, group: HeadGroup) -> Unit:
        recall = self._recall_scores() if group == "recall" else None
        return head_sets_unit(self.study, self.stage.variant, group, self.comparison, recall)

    def _recall_scores(self) -> Unit:
        """Return the stage's edge scores on openings of the guard's problems: knowledge without reasoning."""
        pairs = contrasts.recall_unit(self.study, base_stage(self.study), self.stage)
        return discover.scores_unit(self.study, self.stage, self.stage.variant, pairs)
