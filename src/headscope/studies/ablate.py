"""Ask of every head set whether it matters: verdicts on generated answers, evidence from teacher forcing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headscope.runs import RunDirectory, Unit
from headscope.studies import discover, evidence, headsets, openings
from headscope.studies.ablated import Ablations
from headscope.studies.stages import Stage, base_stage
from headscope.studies.study import HeadGroup, Study, TaskRef


@dataclass(frozen=True)
class Sweep:
    """One variant's last checkpoint on one task."""

    study: Study
    run: RunDirectory
    stage: Stage
    comparison: Unit
    ref: TaskRef

    def units(self) -> Iterator[Unit]:
        """Verdicts and evidence; what they need hangs on them."""
        settings = self.study.ablate
        post, base = self._of(self.stage, self.ref), self._of(base_stage(self.study), self.ref)
        guard = None if settings.guard is None else self._of(self.stage, settings.guard)
        for group in settings.heads:
            sets = self._sets(group)
            for operator in (*settings.generated, *(f"x{scale:g}" for scale in settings.generated_scales)):
                yield post.verdict(sets, operator)
            yield evidence.unit(post, base, sets, guard)

    def _of(self, stage: Stage, ref: TaskRef) -> Ablations:
        return Ablations(self.study, self.run, stage, ref)

    def _sets(self, group: HeadGroup) -> Unit:
        recall = self._recall_scores() if group == "recall" else None
        return headsets.unit(self.study, self.run, self.stage.variant, group, self.comparison, recall)

    def _recall_scores(self) -> Unit:
        """Edge scores of the stage on openings of the guard's problems: the circuit that knows and does not reason."""
        settings = self.study.discover
        positions = settings.positions if settings.contrast == "openings" else "last"
        asked = {"tasks": (self.study.ablate.guard,), "contrast": "openings", "positions": positions}
        settings = settings.model_copy(update=asked)
        study = self.study.model_copy(update={"discover": settings})
        pairs = openings.units(study, base_stage(study), self.stage)["main"]
        pairs = replace(pairs, labels=pairs.labels | {"pairs": "recall"})
        return discover.unit(study, self.run, self.stage, self.stage.variant, pairs)
