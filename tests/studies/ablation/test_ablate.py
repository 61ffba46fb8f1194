"""A head set asked about in full: every operator, both nulls, base, guard, doses, self-repair, on the lab's model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.precision import HALF_THE_BITS

from headscope.errors import InputError
from headscope.interventions import edit_weights
from headscope.interventions.teacher_forcing import response_nll
from headscope.models import load_model
from headscope.report.run_results import RunResults
from headscope.report.tables.evidence import evidence as evidence_table
from headscope.results.evidence import Evidence
from headscope.results.failures import FailureChanges
from headscope.results.head_scaling import HeadScaling
from headscope.results.not_run import NotRun
from headscope.results.role_losses import RoleLosses
from headscope.results.samples import Samples
from headscope.results.table import display_text
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.studies.answers.texts import ModelOnTask, answered_texts
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.study_stages import checkpoint_stages
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study

STUDY = """
name: asked
base: {model: lab-s}
variants: [{name: same, model: lab-s}]
tasks: [lab-t1]
discover: {tasks: [lab-train], pairs: 6, opening_tokens: 3, nodes: 4, fraction: 0.2, resamples: 20, sizes: [0.2]}
ablate: {heads: [kept, paper-emergent], at_most: 2, problems: 16, controls: 20, texts: 8, guard: lab-k,
         scales: [0, 0.5, 1.5], generated_scales: [1.3], generated_controls: 2}
eval: {problems: 4, samples: 1, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 48}
"""


pytestmark = pytest.mark.xdist_group("ablate")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:  # what is settled elsewhere, on few texts
        patch.setattr("headscope.studies.ablation.ablated.REFERENCE_TEXTS", 4)
        patch.setattr("headscope.studies.ablation.forced.REFERENCE_TEXTS", 4)
        found, outcome = run_study(read_study(str(folder / "study.yaml")), folder / "run", goal="ablate")
        assert outcome.failed == {}
        yield found


def test_evidence_holds_all_that_was_asked(run: RunDirectory) -> None:
    finished = run.results(Evidence)
    assert [evidence.labels["heads"] for evidence in finished] == ["kept", "paper-emergent"]
    reason = "same has no paper-emergent heads at its last checkpoint: nothing to ablate"
    assert finished[1].result == NotRun(reason)
    for evidence in finished[:1]:
        found = evidence.whole
        assert [each.operator for each in found.operators] == ["zero", "mean", "resample", "optimal"]
        # As many as were asked for, or as the heads' layers have.
        assert len({len(each.control_effects) for each in found.operators}) == 1
        assert 0 < len(found.operators[0].control_effects) <= 20
        assert [len(each.importance_effects) > 0 for each in found.operators] == [True, False, False, False]
        assert 0 < found.texts <= 8
        assert len(found.heads) == 2
        # Base and variant are one model: what heads do there cannot differ, but for the rounding of what they do.
        effect = found.operators[0].effect.value
        assert found.training is not None
        assert abs(found.training.value) < HALF_THE_BITS * abs(effect)
        assert found.training_pass is not None
        assert found.training_pass.value == 0
        assert found.dose is not None
        assert found.dose.effects[0].value == pytest.approx(effect, rel=HALF_THE_BITS)
        assert found.dose.below is not None
        assert found.dose.above is None
        assert found.repair is not None
        assert found.repair.total == found.operators[0].effect
        assert found.guard is not None
        assert found.guard.task == "lab-k"
        assert found.guard.perplexity_before < 2


def test_answers_are_generated_with_the_controls_asked_for(run: RunDirectory) -> None:
    found = [verdict.whole for verdict in run.results(AblationVerdict, heads="kept")]
    assert [each.operator for each in found] == ["zero", "x1.3"]
    assert all(each.controls == 2 for each in found)


def test_kinds_of_failure_are_read_from_the_answers_behind_each_verdict(run: RunDirectory) -> None:
    verdicts = {unit.labels["operator"]: unit.whole for unit in run.results(AblationVerdict, heads="kept")}
    for unit in run.results(FailureChanges, heads="kept"):
        changes, verdict = unit.whole, verdicts[unit.labels["operator"]]
        assert (changes.heads, changes.problems, changes.controls) == (verdict.heads, 16, 2)
        # Every wrong answer is of one kind, so that their changes add up to that of pass@1.
        failures = [kind.change.value for kind in changes.kinds if not kind.is_trait]
        assert sum(failures) == pytest.approx(-verdict.effect.value)
        assert "2 random sets, and 20 are needed" in changes.reason
        assert changes.notes == ()
    assert len(run.results(FailureChanges, heads="kept")) == 2
    assert isinstance(run.results(FailureChanges, heads="paper-emergent")[0].result, NotRun)


def test_losses_by_role_cover_every_head_of_a_small_model(run: RunDirectory) -> None:
    (unit,) = run.results(RoleLosses)
    losses = unit.whole
    assert (losses.heads_are, losses.reader, len(losses.heads)) == ("all 32 heads", "lab", 32)
    assert set(losses.roles) >= {"plan", "answer", "form"}
    assert losses.answers <= 8
    assert losses.change.shape == (32, len(losses.roles))
    assert abs(losses.change).max() > 0.1


def test_scaled_heads_change_the_loss_as_models_with_scaled_weights_do(run: RunDirectory) -> None:
    """The most needed head, removed, weakened and strengthened in the weights, in plain passes."""
    (unit,) = run.results(HeadScaling)
    result = unit.whole
    assert (result.heads_are, result.factors) == ("all 32 heads", (0.5, 1.5))
    assert 0 < result.answers <= 8
    subject = load_model("lab-s")
    place = np.unravel_index(np.argmax(result.ablation.value), result.ablation.value.shape)
    study = read_study(str(run.path.parent / "study.yaml"))
    stage = checkpoint_stages(study, study.variants[0], run, None)[-1]
    task = TaskSource.from_ref("lab-t1", None, 16).task()
    (whole,) = run.results(Samples, "ablated", heads="none", variant="same", task="lab-t1")
    texts = answered_texts(ModelOnTask(stage, task), whole.whole, 8, correct=True)
    losses = {}
    for factor in (0.0, 0.5, 1.0, 1.5):
        model = edit_weights(subject, {f"L{place[0]}H{place[1]}": factor}).model
        losses[factor] = float(np.mean([float(response_nll(model, text).detach()) for text in texts]))
    assert result.whole == pytest.approx(losses[1.0], rel=1e-4)
    assert result.ablation.value[place] == pytest.approx(losses[0.0] - losses[1.0], rel=1e-4)
    assert result.slope.value[place] == pytest.approx(losses[1.5] - losses[0.5], rel=1e-3, abs=1e-5)
    assert result.ablation.value[place] > 0.05


def test_the_table_reads_it(run: RunDirectory) -> None:
    rows = evidence_table(RunResults(run)).rows
    assert [row["heads"] for row in rows] == ["kept", "paper-emergent"]
    assert "of 4" in display_text(rows[0]["operators"])
    assert " of " in display_text(rows[0]["rank"])
    assert rows[1]["rank"] is None


def test_the_papers_comparison_is_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "paper.yaml"
    ablate = "ablate: {preset: paper, guard: lab-k, at_most: 7}\n"
    path.write_text("\n".join(line for line in STUDY.split("\n") if not line.startswith(("ablate", "  "))) + ablate)
    study = read_study(str(path))
    assert study.ablate.heads == ("paper-emergent", "paper-lost", "recall")
    assert (study.ablate.at_most, study.ablate.guard, study.ablate.controls) == (7, "lab-k", 200)
    units = plan(study, RunDirectory(tmp_path / "run"), "ablate")
    asked = {(unit.labels["heads"], unit.labels["operator"]) for unit in units if unit.kind == "verdict"}
    assert asked == {(group, name) for group in study.ablate.heads for name in ("zero", "x0.5", "x1.3")}


def test_recall_heads_need_a_task(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("guard: lab-k,", "").replace("paper-emergent", "recall"))
    with pytest.raises(InputError, match="found on the task named by guard"):
        read_study(str(path))
