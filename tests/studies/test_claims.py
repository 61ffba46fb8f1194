"""A study's results gathered: which runs are seeds of one recipe, which are null twins; a whole toy study judged."""

import json
import shutil
from pathlib import Path

import pytest
from tests.runs.toys import finish_again

from headscope.cli.main import main
from headscope.runs import RunDirectory
from headscope.runs.recipes import missing_signal, recipe
from headscope.studies import claims
from headscope.studies.reading import read_study

TRAIN = {"method": "grpo", "learning_rate": 1e-3, "seed": 0, "control": None}
VARIANTS = {
    "grpo": {"name": "grpo", "twin_of": None, "train": TRAIN},
    "grpo.seed1": {"name": "grpo.seed1", "twin_of": "grpo", "train": TRAIN | {"seed": 1}},
    "grpo.lr0": {"name": "grpo.lr0", "twin_of": "grpo", "train": TRAIN | {"learning_rate": 0.0}},
    "grpo.permuted": {"name": "grpo.permuted", "twin_of": "grpo", "train": TRAIN | {"control": "permuted_rewards"}},
    "grpo.slow": {"name": "grpo.slow", "twin_of": "grpo", "train": TRAIN | {"learning_rate": 1e-4}},
    "found": {"name": "found", "twin_of": None, "train": None},
}


def test_seeds_share_a_recipe_and_null_twins_are_marked() -> None:
    recipes = {name: recipe(name, VARIANTS) for name in VARIANTS}
    nulls = {name: missing_signal(variant) for name, variant in VARIANTS.items()}
    assert recipes == dict.fromkeys(VARIANTS, "grpo") | {"grpo.slow": "grpo.slow", "found": "found"}
    assert {name: null for name, null in nulls.items() if null} == {
        "grpo.lr0": "lr0",
        "grpo.permuted": "permuted_rewards",
    }


def test_a_finished_study_is_judged_whatever_was_asked_for_last(
    toy_study: Path, toy_run: Path, tmp_path: Path, capsys
) -> None:
    toy_run = shutil.copytree(toy_run, tmp_path / "run")  # the command below makes its own plan the run's last
    study, run = read_study(str(toy_study)), RunDirectory.open(toy_run)
    found = claims.study_results(study, run)
    assert [(each.variant, each.method, each.recipe) for each in found.runs] == [
        ("sft", "sft", "sft"),
        ("grpo", "grpo", "grpo"),
    ]
    assert found.ablations
    assert {each.task: each.recall for each in found.answers} == {"lab-t1": False, "lab-k": True}
    for each in found.answers:
        assert each.failures is not None
        wrong = [[kind != "" for kind in row] for row in each.failures]
        assert wrong == (~each.post).tolist()  # every wrong answer has its kind, in the order of the samples
    assert set(found.answers[0].tiers) == {"T1"}
    assert main(["compare", str(toy_study), "--out", str(toy_run), "--claims"]) == 0
    out = capsys.readouterr().out
    assert "\n| C10 " in out
    # What a study cannot decide is said in the words of ``validate``.
    lacks = "no model is asked with thinking on and off"
    assert lacks in next(line for line in out.splitlines() if line.startswith("| C8 "))
    assert main(["validate", str(toy_study)]) == 0
    assert f"C8 not decided: {lacks}" in capsys.readouterr().out
    assert main(["plan", str(toy_study), "--out", str(toy_run), "--json"]) == 0
    told = {row["claim"]: row for row in json.loads(capsys.readouterr().out)["claims"]}
    assert not told["C3"]["decidable"]
    assert "grpo has 0 differenced points (1 seed × 2 checkpoints), and needs 12" in told["C3"]["missing"][0]
    assert told["C4"]["decidable"] is False
    assert told["C4"]["missing"] == ["discover.pairs is 8: heads are counted on 10 or more"]
    saved = json.loads((toy_run / "claims.json").read_text())
    assert [claim["name"] for claim in saved["claims"]] == [f"C{number}" for number in range(1, 11)]
    assert main(["report", str(toy_run)]) == 0
    assert "Do SFT and distillation add many heads that persist?" in (toy_run / "report" / "report.html").read_text()


def test_results_of_a_newer_headscope_are_refused(
    toy_study: Path, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_run = shutil.copytree(toy_run, tmp_path / "run")
    path = RunDirectory.open(toy_run).find("comparison")[0].folder / "comparison.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    finish_again(path.parent)
    assert main(["compare", str(toy_study), "--out", str(toy_run), "--claims"]) == 2
    assert "has schema_version 99" in capsys.readouterr().err
