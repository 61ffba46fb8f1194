"""Which heads are removed in which model: in the base, those of an earlier checkpoint, those only think-off has."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.studies.bench import Bench

from headscope.errors import InputError
from headscope.evaluation import sample
from headscope.evaluation.chat import prompt_ids
from headscope.interventions import scale, zero
from headscope.models import load_model
from headscope.report.run_results import RunResults
from headscope.report.tables.summary import strongest_ablation
from headscope.report.tables.verdicts import verdicts as verdict_table
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status
from headscope.results.evidence import Evidence
from headscope.results.head_sets import ControlledHeads
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.studies import claims
from headscope.studies.answers.evaluate import draw_settings
from headscope.studies.data.sources import task
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study, read_study
from headscope.studies.run import run_study

THINK = """
name: think
base: {model: lab-s}
variants:
  - {name: think-on, model: lab-s, chat: {enable_thinking: true}}
  - {name: think-off, model: lab-s, method: distill, chat: {enable_thinking: false}}
tasks: [lab-t1]
discover: {tasks: [lab-train], pairs: 6, opening_tokens: 2, nodes: 4, fraction: 0.05, resamples: 20, sizes: [0.2]}
ablate: {heads: [think-off-only], on: [post, base], at_most: 2, problems: 10, controls: 20, texts: 4, operators: [zero],
         scales: [0.5], generated_scales: [0.5], generated_controls: 2}
eval: {problems: 4, samples: 1, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 32}
"""
STEP = """
name: step
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 4, save_every: 2, batch_size: 16}}}}
  - {{name: whole, model: {base}}}
tasks: [lab-t1]
discover: {{tasks: [lab-train], pairs: 6, opening_tokens: 3, nodes: 4, resamples: 20, fraction: 0.4}}
ablate: {{heads: kept, step: 2, at_most: 2, problems: 3, controls: 2, texts: 2, operators: [zero], scales: []}}
eval: {{problems: 3, samples: 2, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 8}}
"""

pytestmark = pytest.mark.xdist_group("scope")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def think_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished ablation of the heads that only think-off has, in the think-off variant and in the base."""
    run, outcome = run_study(
        parse_study(THINK, "think.yaml", Path()), tmp_path_factory.mktemp("scope") / "run", goal="ablate"
    )
    assert outcome.failed == {}
    return run


@pytest.mark.slow
def test_heads_only_think_off_has_come_from_the_comparison_of_both_modes(think_run: RunDirectory) -> None:
    (thinking,) = think_run.results(Thinking)
    (sets,) = think_run.results(ControlledHeads)
    assert sets.labels == {"variant": "think-off", "heads": "think-off-only"}
    assert 0 < len(sets.whole.heads) <= 2
    only_off = thinking.whole.change.heads(Status.LOST)
    assert all(head in only_off for head in sets.whole.heads)
    # The comparison with the base names others.
    compared = think_run.results(Comparison, variant="think-off")[0].whole
    assert not any(head in compared.final.new for head in sets.whole.heads)
    assert "with thinking off" in sets.whole.caveat


def test_the_base_is_edited_next_to_its_own_whole_answers(think_run: RunDirectory) -> None:
    found = {
        (unit.labels["operator"], unit.labels.get("on")): unit.whole for unit in think_run.results(AblationVerdict)
    }
    assert set(found) == {("zero", None), ("x0.5", None), ("zero", "base"), ("x0.5", "base")}
    whole = think_run.results(Samples, "ablated", variant="base", heads="none")[0].whole
    for operator in ("zero", "x0.5"):
        verdict = found[operator, "base"]
        removed = think_run.results(Samples, "ablated", on="base", operator=operator, control=None)[0].whole
        assert verdict.controls == 2
        assert verdict.baseline.value == whole.correct.mean()
        assert verdict.ablated.value == removed.correct.mean()
        assert removed.model == "base"
    assert found["zero", "base"].baseline.value != found["zero", None].baseline.value


@pytest.mark.parametrize("operator", ["zero", "x0.5"])
def test_what_the_base_writes_without_the_heads_is_what_it_writes_under_the_hook(
    think_run: RunDirectory, operator: str
) -> None:
    study = parse_study(THINK, "think.yaml", Path())
    heads = think_run.results(ControlledHeads)[0].whole.heads
    subject = load_model("lab-s")
    prompts = [prompt_ids(subject.tokenizer, problem.prompt) for problem in task("lab-t1").first(10).problems]
    sampling = draw_settings(study.eval, 1, 0)
    with zero(subject, heads) if operator == "zero" else scale(subject, heads, 0.5):
        edited = sample(subject.model, subject.tokenizer, prompts, sampling)
    whole = sample(subject.model, subject.tokenizer, prompts, sampling)
    saved = think_run.results(Samples, "ablated", on="base", operator=operator, control=None)[0].whole
    assert [tuple(ids) for ids in saved.table["token_ids"]] == [completion.tokens for completion in edited]
    assert [completion.tokens for completion in edited] != [completion.tokens for completion in whole]


def test_evidence_on_the_base_forces_its_own_answers(think_run: RunDirectory) -> None:
    post, base = think_run.results(Evidence)
    assert (post.labels.get("on"), base.labels["on"]) == (None, "base")
    assert base.whole.training is None
    assert base.whole.training_pass is None
    assert post.whole.training_pass is not None
    assert base.whole.texts > 0
    assert base.whole.operators[0].effect.value != post.whole.operators[0].effect.value


def test_rows_say_which_model_was_edited_and_claims_and_summary_take_the_trained_one(think_run: RunDirectory) -> None:
    results = RunResults(think_run)
    assert [row["variant"] for row in verdict_table(results).rows] == ["think-off"] * 2 + [
        "base (heads of think-off)"
    ] * 2
    assert strongest_ablation(results, "base") is None
    assert strongest_ablation(results, "think-off") is not None
    found = claims.study_results(parse_study(THINK, "think.yaml", Path()), think_run)
    assert [(each.group, each.operator) for each in found.ablations] == [
        ("think-off-only", "zero"),
        ("think-off-only", "x0.5"),
    ]
    assert [(each.variant, each.method) for each in found.runs] == [("think-off", "distill")]


def test_only_the_think_off_variant_of_a_pair_has_the_group(tmp_path: Path) -> None:
    study = parse_study(THINK.replace("[think-off-only]", "[kept, think-off-only]"), "think.yaml", tmp_path)
    units = plan(study, RunDirectory(tmp_path), "ablate")
    sets = [(unit.labels["variant"], unit.labels["heads"]) for unit in units if unit.kind == "headsets"]
    assert sets == [("think-on", "kept"), ("think-off", "kept"), ("think-off", "think-off-only")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("enable_thinking: true", "enable_thinking: false"), "no two variants are one model asked with chat"),
        (("heads: [think-off-only]", "heads: [think-off-only], step: 2"), "both modes are compared at the last"),
        (("think-off-only", "think-of-only"), "should be 'emergent', 'kept'.* 'think-off-only' or 'named'"),
        (("on: [post, base]", "on: [post, bse]"), r"ablate.on\[1\] is 'bse'; it should be 'post' or 'base'"),
        (("on: [post, base]", "on: []"), "ablate.on: it needs 1, has 0"),
    ],
)
def test_a_group_or_model_that_is_none_is_refused(change: tuple[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_study(THINK.replace(*change), "think.yaml", Path())


def test_two_models_are_no_pair_of_modes(bench: Bench) -> None:
    other = bench.model()
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, other / "model.safetensors", {"format": "pt"})

    def modes(on: Path) -> str:
        variants = {"think-on": (on, "true"), "think-off": (bench.base, "false")}
        rows = [
            f"{{name: {name}, model: {model}, chat: {{enable_thinking: {mode}}}}}"
            for name, (model, mode) in variants.items()
        ]
        return f"variants=[{', '.join(rows)}]"

    group = "ablate.heads=think-off-only"
    assert "no two variants are one model asked with chat" in bench.refused("plan", group, modes(Path("other")))
    code, said = bench.call("plan", group, modes(bench.base))
    assert code == 0, said


def test_heads_of_an_earlier_checkpoint_are_removed_in_its_model(toy_base: Path, tmp_path: Path) -> None:
    text = STEP.format(base=toy_base)
    study = parse_study("\n".join(line for line in text.split("\n") if "whole" not in line), "step.yaml", tmp_path)
    run, outcome = run_study(study, tmp_path / "run", goal="ablate")
    assert outcome.failed == {}
    (verdict,) = run.results(AblationVerdict)
    assert verdict.labels == {"variant": "sft", "heads": "kept", "step": 2, "operator": "zero", "task": "lab-t1"}
    comparison = run.results(Comparison)[0].whole
    assert comparison.steps == (2, 4)
    sets = run.results(ControlledHeads)[0].whole
    assert all(head in comparison.emergence[0].kept for head in sets.heads)
    units = [unit for unit in plan(study, run, "ablate") if unit.kind == "ablated" and unit.labels["variant"] == "sft"]
    # The base without the same heads, for what training made of their effect.
    assert {(unit.labels.get("on"), unit.config.model.step) for unit in units} == {(None, 2), ("base", 0)}
    assert {unit.labels["step"] for unit in units} == {2}
    assert [row["variant"] for row in verdict_table(RunResults(run)).rows] == ["sft at step 2"]
    assert not claims.study_results(study, run).ablations  # these are about the last checkpoint


def test_the_last_step_by_its_number_is_the_last_checkpoint(toy_base: Path, tmp_path: Path) -> None:
    (tmp_path / "step.yaml").write_text(STEP.format(base=toy_base).replace("step: 2, ", ""))
    plans = []
    for settings in ([], ["ablate.step=4"]):
        units = plan(read_study(str(tmp_path / "step.yaml"), settings), RunDirectory(tmp_path), "ablate")
        plans.append({unit.address for unit in units if unit.labels["variant"] != "whole" and unit.kind == "verdict"})
    assert plans[0] == plans[1]


def test_a_step_that_is_no_checkpoint_is_refused_with_those_there_are(bench: Bench, toy_base: Path) -> None:
    bench.file("step.yaml", STEP.format(base=toy_base).replace("step: 2", "step: 3"))
    sentence = "ablate.step is 3, and variant sft has checkpoints 2, 4"
    assert sentence in bench.refused("validate", study=bench.folder / "step.yaml")


def test_a_finished_model_has_no_earlier_checkpoint_and_is_left_out(bench: Bench, toy_base: Path) -> None:
    # A training by epochs knows its checkpoints once it is done.
    by_epochs = STEP.format(base=toy_base).replace("max_steps: 4", "max_steps: null, epochs: 1")
    path = bench.file("step.yaml", by_epochs)
    study = read_study(str(path))
    units = plan(study, RunDirectory(bench.folder), "ablate")
    assert {unit.labels["variant"] for unit in units if unit.kind == "headsets"} == {"sft"}


def test_a_step_of_saved_checkpoints_is_refused_by_plan(bench: Bench, toy_base: Path) -> None:
    for step in (5, 10):
        shutil.copytree(toy_base, bench.folder / "runs" / f"checkpoint-{step}")
    setting = "variants=[{name: a, method: grpo, checkpoints: runs/checkpoint-*}]"
    units = plan(read_study(str(bench.study), [setting, "ablate.step=5"]), RunDirectory(bench.out), "ablate")
    assert {
        unit.config.model.step
        for unit in units
        if unit.kind == "ablated" and "on" not in unit.labels and unit.labels["variant"] == "a"
    } == {5}
    sentence = bench.refused("plan", setting, "ablate.step=7")
    assert "ablate.step is 7, and variant a has checkpoints 5, 10" in sentence


def test_the_method_of_a_training_here_is_its_own(toy_study: Path) -> None:
    assert read_study(str(toy_study), ["variants.sft.method=sft"]).variants[0].method == "sft"
    with pytest.raises(InputError, match="it is trained here by sft, and method says grpo; leave method out"):
        read_study(str(toy_study), ["variants.sft.method=grpo"])
    with pytest.raises(InputError, match="method is 'dpo'; it should be 'sft', 'distill' or 'grpo'"):
        read_study(str(toy_study), ["variants.sft.method=dpo"])


def test_truth_values_of_yaml_1_1_are_read_as_before_and_on_is_a_key() -> None:
    text = THINK.replace("enable_thinking: true", "enable_thinking: on").replace(
        "enable_thinking: false", "enable_thinking: no"
    )
    study = parse_study(text, "think.yaml", Path())
    assert study == parse_study(THINK, "think.yaml", Path())
    assert study.ablate.on == ("post", "base")
