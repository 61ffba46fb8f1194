"""All that ``compare`` knows, on a toy study: a twin that learns nothing, model against prompt, think on and off."""

from pathlib import Path

import numpy as np
import pytest

from headscope.cli.main import main
from headscope.pairs import Pairs
from headscope.results.comparison import Comparison
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.results.overlap import RelativeChanges
from headscope.results.thinking import Thinking
from headscope.results.training_effects import TrainingEffects
from headscope.runs import RunDirectory
from headscope.studies import claims
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study, read_study

STUDY = """
name: toy-compare
base: {{model: {base}}}
variants:
  - {{name: think-on, train: {train}, chat: {{enable_thinking: true}}}}
  - {{name: think-off, train: {train}, chat: {{enable_thinking: false}}}}
  - name: sft
    train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 2, save_every: 1, batch_size: 4, learning_rate: 0.0}}
tasks: [lab-t1]
discover: {{tasks: [lab-train], pairs: 6, opening_tokens: 2, nodes: 2, fraction: 0.1, resamples: 20, crossed: true}}
eval: {{problems: 6, samples: 1, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 8}}
"""
HYBRID = "{preset: lab-hybrid, dataset: lab-hybrid, max_steps: 2, save_every: 2, batch_size: 16}"


pytestmark = pytest.mark.xdist_group("compare")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def think_study(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file."""
    path = tmp_path_factory.mktemp("think") / "toy.yaml"
    path.write_text(STUDY.format(base=toy_base, train=HYBRID))
    return path


@pytest.fixture(scope="module")
def think_run(think_study: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Its finished run and report."""
    out = tmp_path_factory.mktemp("run") / "think"
    assert main(["compare", str(think_study), "--out", str(out)]) == 0
    assert main(["report", str(out)]) == 0
    return RunDirectory.open(out)


def test_one_model_in_two_modes_is_found(think_study: Path, tmp_path: Path) -> None:
    units = plan(read_study(str(think_study)), RunDirectory(tmp_path), "compare")
    (found,) = [unit for unit in units if unit.kind == "thinking"]
    assert found.labels == {"variant": "think-off", "think_on": "think-on"}
    assert len([unit for unit in units if unit.kind == "train"]) == 2
    text = think_study.read_text().replace("enable_thinking: false", "enable_thinking: true")
    same = plan(parse_study(text, "same", tmp_path), RunDirectory(tmp_path), "compare")
    other = text.replace("max_steps: 2", "max_steps: 3", 1)
    for units in (same, plan(parse_study(other, "other", tmp_path), RunDirectory(tmp_path), "compare")):
        assert not [unit for unit in units if unit.kind == "thinking"]


def test_crossing_costs_two_scorings_and_only_where_asked_for(think_study: Path, tmp_path: Path) -> None:
    def scores(*overrides: str) -> int:
        units = plan(read_study(str(think_study), overrides), RunDirectory(tmp_path), "compare")
        return len([unit for unit in units if unit.kind == "scores"])

    assert scores() == scores("discover.crossed=false") + 3 * 2


def test_training_at_rate_0_shows_nothing_by_either_method(think_run: RunDirectory) -> None:
    comparison = think_run.results(Comparison, variant="sft")[0].whole
    assert comparison.steps == (1, 2)
    for found in (*comparison.emergence, *comparison.paper):
        assert len(found.kept) > 0
        for estimate in (found.counts.new, found.counts.lost):
            assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)
        assert len(found.doubled) == 0
        assert np.abs(found.importance_change.value).max() == 0
        assert found.edges is not None
        assert (found.edges.born, found.edges.lost) == ((), ())


def test_training_at_rate_0_has_no_training_effect_on_any_head(think_run: RunDirectory) -> None:
    effects = think_run.results(TrainingEffects, variant="sft")[0].whole
    assert effects.null == "lr0"
    assert effects.base.value.any()
    for grid in (effects.training.heads.value, effects.training.heads.low, effects.training.heads.high):
        assert not grid.any()
    assert (effects.training.q_value == 1).all()
    assert len(effects.training.changed(0.0)) == 0
    trained = think_run.results(TrainingEffects, variant="think-on")[0].whole
    assert trained.training.heads.value.any()
    assert not trained.above_twin  # the twin at rate 0 is another recipe's, and would be the base


def test_heads_are_patched_on_problems_they_were_not_counted_on(think_run: RunDirectory) -> None:
    places = {(unit.labels["pairs"], unit.labels["model"]) for unit in think_run.find("head_scores", variant="sft")}
    assert places == {("fresh", "base"), ("fresh", "sft")}


def test_cells_are_the_same_texts_exchanged(think_run: RunDirectory) -> None:
    (main_pairs,) = think_run.find("pairs", variant="think-on", pairs="main")
    (other,) = think_run.find("exchanged", variant="think-on")
    one, exchanged = Pairs.load(main_pairs.folder), Pairs.load(other.folder)
    assert all(
        (a.clean == b.corrupt).all() and (a.corrupt == b.clean).all() for a, b in zip(one, exchanged, strict=True)
    )
    cells = [EdgeScores.load(each.folder) for each in think_run.find("scores", variant="think-on", pairs="exchanged")]
    assert len({cell.settings["pairs"] for cell in cells}) == 1
    assert len({cell.settings["model"] for cell in cells}) == 2


def test_both_results_are_written_judged_and_shown(
    think_study: Path, think_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    found = think_run.results(Thinking)[0].whole
    assert set(found.leak) == {"lab-t1"}
    assert found.change.null_source == "fresh pairs"
    crossings = think_run.results(Crossed)
    assert [crossed.labels["variant"] for crossed in crossings] == ["think-on", "think-off", "sft"]
    assert crossings[0].whole.pairs > 0
    study = read_study(str(think_study))
    gathered = claims.study_results(study, think_run)
    assert [each.variant for each in gathered.thinking] == ["think-off"]
    # Its learning rate is 0: a null twin, and no training to be asked what it solved.
    assert [run.null for run in gathered.runs if run.variant == "sft"] == ["lr0"]
    assert {each.variant for each in gathered.answers} <= {"think-on", "think-off"}
    html = think_run.report.read_text()
    assert "Did training change these heads, or does the prompt?" in html
    assert "think-modes" in html
    assert main(["compare", str(think_study), "--out", str(think_run.path), "--claims"]) == 0
    shown = capsys.readouterr().out
    assert "| think-on / think-off |" in shown
    assert "the prompt's" in shown


def test_effects_and_overlaps_of_all_variants_are_kept_printed_and_shown(
    think_study: Path, think_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    found = think_run.results(RelativeChanges)[0].whole
    assert list(found.effects) == ["think-on", "think-off", "sft"]
    assert len(found.effects["sft"]) == 2
    assert np.abs(found.effects["sft"]).max() == 0
    assert 0 < np.abs(found.effects["think-on"]).max() <= 1
    assert [(each.first, each.second, each.equal) for each in found.likeness][:2] == [
        ("think-on", "think-off", "fraction"),
        ("think-on", "think-off", "faithfulness"),
    ]
    assert len(found.likeness) == 3 * 2
    assert {each.fractions for each in found.likeness if each.equal == "fraction"} == {(0.1, 0.1)}
    html = think_run.report.read_text()
    assert "Which heads does training make matter more, and which less?" in html
    assert main(["compare", str(think_study), "--out", str(think_run.path)]) == 0
    shown = capsys.readouterr().out
    assert "| think-on / think-off | faithfulness |" in shown
