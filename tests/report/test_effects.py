"""The page Effects: grids, tables and sentences by hand-made results."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headscope.report import RunResults
from headscope.report.effect_sentences import effect_sentences
from headscope.report.pages.effects import effects
from headscope.report.tables.effects import head_revert as head_revert_table
from headscope.report.tables.effects import head_scaling as head_scaling_table
from headscope.report.tables.effects import training_effects as training_effects_table
from headscope.report.tables.heads import heads
from headscope.report.tables.summary import summary
from headscope.results.estimate import Estimate
from headscope.results.not_run import NotRun
from headscope.results.table import Table, display_text
from headscope.results.training_effects import PooledEffects

from .runs import RunWriter, add_comparison, head_revert, head_scaling, series, training_effects

TWIN = {"twin_of": "sft", "train": {"learning_rate": 1e-3, "control": "shuffled_answers"}}


def texts(table: Table) -> list[list[str]]:
    """Every cell as it is shown."""
    return [[display_text(value) for value in row.values()] for row in table.rows]


@pytest.fixture
def results(tmp_path: Path) -> RunResults:
    """SFT with a null twin; scaled heads on one task, none on the other."""
    run = RunWriter(tmp_path / "run", variants=("sft", "sft.shuffled"))
    run.study["variants"] = [{"name": "sft", "train": {"learning_rate": 1e-3}}, {"name": "sft.shuffled", **TWIN}]
    for variant, births in (("sft", 4), ("sft.shuffled", 2)):
        add_comparison(run, variant, series(3, births))
    run.save(training_effects("sft", 0.8, ("sft.shuffled",)), variant="sft")
    run.save(training_effects("sft.shuffled", 0.1, recipe="sft", null="shuffled_answers"), variant="sft.shuffled")
    run.save(head_scaling(), variant="sft", task="T1")
    run.save(NotRun("sft gave no correct answer to force"), "head_scaling", variant="sft", task="T2")
    run.save(head_revert(), variant="sft", task="T1")
    run.save(NotRun("sft gave no correct answer to force"), "head_revert", variant="sft", task="T2")
    return RunResults(run.close())


def test_a_row_says_what_training_changed_and_beyond_which_twin(results: RunResults) -> None:
    rows = texts(training_effects_table(results))
    assert [row[:2] for row in rows] == [["sft", "base"], ["sft", "sft.shuffled"], ["sft.shuffled", "base"]]
    assert rows[0][2] == "+0.80 [+0.60, +1.00]"
    assert rows[0][5:] == [
        *("2", "4.00 / 5.00", "40", "0.90 [0.85, 0.95]"),
        "L2H3 +0.80 [+0.60, +1.00]; L4H1 −0.30 [−0.50, −0.10]",
    ]
    assert (rows[1][5], rows[1][-1]) == ("1", "L2H3 +0.40 [+0.20, +0.60]")
    assert (rows[2][5], rows[2][-1]) == ("1", "L4H1 −0.30 [−0.50, −0.10]")


def test_scaled_heads_are_counted_and_what_was_not_run_says_why(results: RunResults) -> None:
    done, missing = texts(head_scaling_table(results))
    assert done[:6] == ["sft", "T1", "0.2", "30", "1", "L1H1 +0.50 [+0.40, +0.60]"]
    assert done[6:] == ["1", "L1H1 −0.50 [−0.60, −0.40]", "47 of 48 heads"]
    assert missing[5] == "not run: sft gave no correct answer to force"


def test_reverted_heads_are_counted_and_say_what_became_of_shared_keys(results: RunResults) -> None:
    done, missing = texts(head_revert_table(results))
    assert done == ["sft", "T1", "0.2", "30", "1", "L2H3 +0.30 [+0.20, +0.40]", "all", "47 of 48 heads"]
    assert missing[5] == "not run: sft gave no correct answer to force"
    (figure,) = [figure for figure in effects(results).figures() if figure.name == "revert-map"]
    assert "keys and values that several heads share stay as trained" in figure.basis
    grid, dots = figure.panels[0].plot.data[:2]
    assert (grid.z[0][0], np.array(grid.z[2], dtype=float)[3]) == (None, 0.3)
    assert (list(dots.x), list(dots.y)) == ([3], [2])
    assert len(figure.table.rows) == 47


def test_grids_share_one_scale_about_0_and_dots_mark_heads_told_from_it(results: RunResults) -> None:
    figures = {figure.name: figure for figure in effects(results).figures()}
    assert list(figures) == ["training-changes", "ablation-map", "slope-map", "revert-map"]
    panels = figures["training-changes"].panels
    titles = [panel.title.partition(" · ")[0] for panel in panels]
    assert titles == ["sft − base", "sft − sft.shuffled", "sft.shuffled − base"]
    spans = {(panel.plot.data[0].zmin, panel.plot.data[0].zmax) for panel in panels}
    ((low, high),) = spans
    assert low == -high < 0
    assert (list(panels[0].plot.data[1].x), list(panels[0].plot.data[1].y)) == ([3, 1], [2, 4])
    ablation = figures["ablation-map"].panels[0].plot.data[0]
    assert ablation.z[0][0] is None  # a head that was not scaled is blank
    assert np.array(ablation.z[1], dtype=float)[1] == 0.5
    assert len(figures["ablation-map"].table.rows) == 47


def test_sentences_are_hedged_by_the_twin(tmp_path: Path, results: RunResults) -> None:
    new, changed = effect_sentences(results)
    assert new == (
        "sft: replacing a new head costs +0.80 [+0.60, +1.00] nats more than in the base and +0.40 [+0.20, +0.60] nats "
        "more than in its twin sft.shuffled (mean over them): training made them matter more, beyond what its twin "
        "shows."
    )
    assert changed.startswith(
        "sft: exact effects differ from those in its twin sft.shuffled in 1 of 48 heads, most in L2H3"
    )
    run = RunWriter(tmp_path / "weak", variants=("sft",))
    run.save(training_effects("sft", 0.15), variant="sft")
    assert effect_sentences(RunResults(run.close()))[0].endswith(
        "(mean over them): that they matter more could be chance."
    )
    # Told from 0 by its interval, and still nothing.
    sure = training_effects("sft", 0.04)
    tiny = Estimate(0.04, 0.03, 0.045, 40, "problem t 95%")
    run = RunWriter(tmp_path / "tiny", variants=("sft",))
    run.save(replace(sure, training=replace(sure.training, sets={"new": tiny})), variant="sft")
    end = "less than 1% of what the whole corrupt text costs, so on these pairs they hardly matter."
    assert effect_sentences(RunResults(run.close()))[0].endswith(end)
    run = RunWriter(tmp_path / "twin", variants=("sft",))
    run.save(training_effects("sft", 0.3, ("sft.lr",)), variant="sft")
    assert effect_sentences(RunResults(run.close()))[0].endswith("but so they may without the signal.")


def test_a_recipe_of_several_seeds_is_shown_by_its_mean(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft", "sft.seed1"))
    for name in ("sft", "sft.seed1"):
        run.save(training_effects(name, 0.8, recipe="sft"), variant=name)
    mean = training_effects("sft", 0.7)
    run.save(PooledEffects("sft", ("sft", "sft.seed1"), mean.training, {}, 0.05), variant="sft")
    results = RunResults(run.close())
    assert [row[0] for row in texts(training_effects_table(results))] == ["sft", "sft.seed1", "sft, 2 seeds"]
    figure = next(figure for figure in effects(results).figures() if figure.name == "training-changes")
    assert [panel.title for panel in figure.panels] == ["sft, 2 seeds − base · 40 problems"]
    sentences = effect_sentences(results)
    assert len(sentences) == 2
    assert sentences[0].startswith("sft (2 seeds): replacing a new head costs +0.70")


def test_counts_stand_next_to_their_twins(results: RunResults) -> None:
    sft, twin = heads(results).rows
    counts = display_text(sft["new of null twins"])
    assert counts.endswith(" sft.shuffled")
    assert counts.startswith(display_text(twin["new"]).partition(" (")[0])
    assert display_text(twin["new of null twins"]) == "–"
    assert display_text(sft["effect of new heads"]) == "+0.80 [+0.60, +1.00]"
    assert display_text(sft["above its twin"]) == "+0.40 [+0.20, +0.60] sft.shuffled"
    row = summary(results).rows[1]
    assert "; shuffled " in display_text(row["heads kept / new / lost (null)"])
