"""The operator ``revert`` in a study: evidence, verdicts, addresses of units, and what validate refuses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.interventions import revert_weights, teacher_force
from headscope.models import load_model
from headscope.progress import SILENT
from headscope.report.run_results import RunResults
from headscope.report.tables.evidence import evidence as evidence_table
from headscope.results.evidence import Evidence
from headscope.results.failures import FailureChanges
from headscope.results.forced_losses import ForcedLosses
from headscope.results.head_revert import HeadRevert
from headscope.results.head_sets import ControlledHeads
from headscope.results.samples import Samples
from headscope.results.table import Cell, display_text
from headscope.results.verdict import AblationVerdict
from headscope.runs import Inputs, RunDirectory
from headscope.studies.answers.texts import ModelOnTask, answered_texts
from headscope.studies.costs.estimate import models_of
from headscope.studies.plan import plan
from headscope.studies.preflight import check_and_read_first_rows
from headscope.studies.reading import read_study
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study

STUDY = """
name: reverted
base: {model: lab-s}
variants: [{name: moved, model: moved}]
tasks: [lab-t1]
discover: {tasks: [lab-train], pairs: 6, opening_tokens: 3, nodes: 4, fraction: 0.2, resamples: 20, sizes: [0.2]}
ablate: {heads: [kept], at_most: 2, problems: 16, controls: 20, texts: 8, operators: [zero, revert],
         generated: [revert], generated_controls: 2, revert_kv: any}
eval: {problems: 4, samples: 1, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 48}
"""

pytestmark = pytest.mark.xdist_group("revert")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the lab's base, and of a copy in which every weight of attention moved a little."""
    folder = tmp_path_factory.mktemp("reverted")
    (folder / "study.yaml").write_text(STUDY)
    moved = load_model("lab-s")
    generator = torch.Generator().manual_seed(0)
    for name, weight in moved.model.named_parameters():
        if "_proj" in name and "attn" in name:
            weight.data += 0.1 * weight.std() * torch.randn(weight.shape, generator=generator)
    moved.model.save_pretrained(folder / "moved")
    moved.tokenizer.save_pretrained(folder / "moved")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[RunDirectory]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headscope.studies.ablation.ablated.REFERENCE_TEXTS", 4)
        patch.setattr("headscope.studies.ablation.forced.REFERENCE_TEXTS", 4)
        run, outcome = run_study(read_study(str(folder / "study.yaml")), folder / "run", goal="ablate")
        assert outcome.failed == {}
        yield run


def changed(folder: Path, old: str, new: str) -> Study:
    assert old in STUDY
    path = folder / f"changed-{abs(hash((old, new)))}.yaml"
    path.write_text(STUDY.replace(old, new))
    return read_study(str(path))


def test_the_losses_are_those_of_edited_weights(run: RunDirectory, folder: Path) -> None:
    units = plan(read_study(str(folder / "study.yaml")), run, "ablate")
    (unit,) = [unit for unit in units if unit.kind == "forced" and unit.labels["operator"] == "revert"]
    losses = ForcedLosses.load(run.folder(unit))
    sets = ControlledHeads.load(run.folder(unit.inputs["sets"]))
    respondent = ModelOnTask(unit.config.post.stage(Inputs({}, folder)), unit.config.task.task())
    texts = answered_texts(respondent, Samples.load(run.folder(unit.inputs["whole"])), 8, correct=True)
    post, base = load_model(folder / "moved"), load_model("lab-s")
    whole = np.ones((1, *sets.shape), dtype=np.float32)
    for nll, model, donor in ((losses.nll, post, base), (losses.base_nll, base, post)):
        assert nll is not None
        edited = revert_weights(model, sets.heads, donor, kv="any")
        assert nll[1] == pytest.approx(teacher_force(edited, texts, whole).nll[0], rel=1e-4)
        assert abs(nll[1] - nll[0]).max() > 1e-3
    control = revert_weights(post, sets.controls[0], base, kv="any")
    assert losses.control_nll[0] == pytest.approx(teacher_force(control, texts, whole).nll[0], rel=1e-4)


def test_a_single_reverted_head_has_the_loss_of_edited_weights(run: RunDirectory, folder: Path) -> None:
    (unit,) = run.results(HeadRevert)
    result = unit.whole
    assert (result.revert_kv, result.heads_are) == ("any", "all 32 heads")
    units = plan(read_study(str(folder / "study.yaml")), run, "ablate")
    (planned,) = [unit for unit in units if unit.kind == "head_revert"]
    respondent = ModelOnTask(planned.config.post.stage(Inputs({}, folder)), planned.config.task.task())
    texts = answered_texts(respondent, Samples.load(run.folder(planned.inputs["whole"])), 8, correct=True)
    post, base = load_model(folder / "moved"), load_model("lab-s")
    head = HeadId(*np.unravel_index(np.argmax(abs(result.change.value)), result.change.value.shape))
    edited = revert_weights(post, HeadSet((head,)), base, kv="any")
    whole = np.ones((1, *result.change.value.shape), dtype=np.float32)
    before, after = (teacher_force(model, texts, whole).nll[0] for model in (post, edited))
    assert result.answers == len(texts)
    assert result.whole == pytest.approx(before.mean(), rel=1e-4)
    assert result.change.value[head] == pytest.approx((after - before).mean(), rel=1e-3)
    assert abs(result.change.value[head]) > 1e-3


def test_a_base_that_cannot_be_loaded_is_a_failure_and_no_result(
    run: RunDirectory, folder: Path, tmp_path: Path
) -> None:
    (planned,) = [
        unit for unit in plan(read_study(str(folder / "study.yaml")), run, "ablate") if unit.kind == "head_revert"
    ]
    donor = planned.config.donor
    gone = donor.model_copy(update={"place": donor.place.model_copy(update={"folder": str(tmp_path / "gone")})})
    config = planned.config.model_copy(update={"donor": gone})
    inputs = Inputs({name: run.folder(unit) for name, unit in planned.inputs.items()}, tmp_path)
    with pytest.raises(InputError, match="gone"):
        planned.work.run(config, inputs, SILENT)


def test_in_the_base_heads_take_the_variants_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headscope.studies.ablation.ablated.REFERENCE_TEXTS", 4)
    monkeypatch.setattr("headscope.studies.ablation.forced.REFERENCE_TEXTS", 4)
    study = changed(folder, "heads: [kept],", "heads: [kept], on: base,")
    run, outcome = run_study(study, folder / "run in the base", goal="ablate")
    assert outcome.failed == {}
    units = plan(study, run, "ablate")
    (unit,) = [unit for unit in units if unit.kind == "forced" and unit.labels["operator"] == "revert"]
    assert (unit.labels["variant"], unit.labels["on"]) == ("moved", "base")
    losses, sets = ForcedLosses.load(run.folder(unit)), ControlledHeads.load(run.folder(unit.inputs["sets"]))
    respondent = ModelOnTask(unit.config.post.stage(Inputs({}, folder)), unit.config.task.task())
    texts = answered_texts(respondent, Samples.load(run.folder(unit.inputs["whole"])), 8, correct=True)
    grafted = revert_weights(load_model("lab-s"), sets.heads, load_model(folder / "moved"), kv="any")
    whole = np.ones((1, *sets.shape), dtype=np.float32)
    assert losses.nll[1] == pytest.approx(teacher_force(grafted, texts, whole).nll[0], rel=1e-4)
    assert abs(losses.nll[1] - losses.nll[0]).max() > 1e-3


def test_reverting_has_no_vote_and_stands_next_to_the_verdict(run: RunDirectory) -> None:
    (unit,) = run.results(Evidence)
    evidence = unit.whole
    assert [effect.operator for effect in evidence.operators] == ["zero", "revert"]
    assert [effect.operator for effect in evidence.voting] == ["zero"]
    assert evidence.reverted is not None
    assert len(evidence.reverted.control_effects) == len(evidence.operators[0].control_effects) > 0
    assert evidence.graft is not None
    assert "of 1 operators support it" in evidence.reason
    assert "keys and values were reverted if any head of its group was (revert_kv: any)" in evidence.reason
    (row,) = evidence_table(RunResults(run)).rows
    assert "of 1" in display_text(row["operators"])
    assert isinstance(row["reverted"], Cell)
    assert row["reverted"].value == evidence.reverted.effect
    assert isinstance(row["grafted"], Cell)
    assert row["grafted"].value == evidence.graft


def test_answers_are_generated_with_heads_and_random_sets_reverted(run: RunDirectory) -> None:
    (unit,) = run.results(AblationVerdict)
    assert (unit.whole.operator, unit.whole.controls) == ("revert", 2)
    assert unit.whole.reason.endswith("(revert_kv: any)")
    (failures,) = run.results(FailureChanges)
    assert failures.whole.reason.startswith(f"giving {unit.whole.heads} the other model's weights")


def test_only_units_that_revert_know_of_it(run: RunDirectory, folder: Path) -> None:
    """And they load the base as well, which the estimate of the cost counts."""

    def addresses(study: Study) -> dict[str, str]:
        units = plan(study, run, "ablate")
        return {f"{unit.kind} {unit.labels}": unit.address for unit in units if unit.kind != "evidence"}

    study = read_study(str(folder / "study.yaml"))
    before = addresses(changed(folder, "[zero, revert],\n         generated: [revert]", "[zero], generated: [zero]"))
    after = addresses(study)
    assert {key for key in before if "'zero'" not in key} <= set(after)
    assert all(after[key] == address for key, address in before.items() if key in after)
    other = addresses(changed(folder, "revert_kv: any", "revert_kv: all"))
    differing = [key for key, address in after.items() if other[key] != address]
    assert differing == [key for key in after if "'operator': 'revert'" in key or key.startswith("head_revert ")]
    (reverted,) = [
        unit
        for unit in plan(study, run, "ablate")
        if unit.kind == "ablated" and unit.labels["operator"] == "revert" and unit.labels["control"] is None
    ]
    assert models_of(reverted) == {("moved", 0), ("base", 0)}


def test_validate_refuses_what_cannot_be_reverted(run: RunDirectory, folder: Path) -> None:
    moved = "{name: moved, model: moved}"
    itself = changed(folder, moved, "{name: asked, model: lab-s, chat: {enable_thinking: false}}")
    with pytest.raises(InputError, match=r"asked .* has the same weights as the base, .* revert changes nothing"):
        check_and_read_first_rows(itself, run)
    other = load_model("lab-s")
    other.model.config.num_key_value_heads = 8
    AutoModelForCausalLM.from_config(other.model.config).save_pretrained(folder / "ungrouped")
    other.tokenizer.save_pretrained(folder / "ungrouped")
    with pytest.raises(InputError, match=r"variant moved and base differ in key/value heads, 8 and 4"):
        check_and_read_first_rows(changed(folder, moved, "{name: moved, model: ungrouped}"), run)
    # Without revert, both are studies like any other.
    for variant in ("{name: asked, model: lab-s, chat: {enable_thinking: false}}", "{name: moved, model: ungrouped}"):
        path = folder / "without.yaml"
        study = STUDY.replace(moved, variant).replace("[zero, revert]", "[zero]").replace("[revert]", "[zero]")
        path.write_text(study)
        check_and_read_first_rows(read_study(str(path)), run)
