"""Figures show the numbers of the results: hand-made statuses are found again in marks, lines and tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.report.figures.accuracy import accuracy
from headscope.report.figures.canvas import make_room_for_names, new_plot
from headscope.report.figures.cohorts import cohorts
from headscope.report.figures.emergence_map import emergence_map
from headscope.report.figures.evidence import evidence
from headscope.report.figures.forest import forest
from headscope.report.figures.frequency import frequency
from headscope.report.figures.head_counts import head_counts
from headscope.report.pages import build_pages
from headscope.report.palette import lines
from headscope.report.paper import overview_figure
from headscope.report.run_results import RunResults
from headscope.results.comparison import Comparison
from headscope.results.dynamics import RewardCount
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Evidence, OperatorEffect
from headscope.results.not_run import NotRun
from headscope.results.overlap import CircuitOverlap, Overlap, RelativeChanges
from headscope.results.table import Table
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.runs.records import Finished

from .runs import RunWriter, add_samples, comparison, emergence, finished, samples, seeded_run, series, verdict

STEPS = (10, 20, 30)


def hand_made(steps: tuple[int, ...] = STEPS) -> Comparison:
    """Return one layer of four heads: H0 stays, H1 is lost at 20, H2 is new from 20 on, H3 new at 10 only."""
    base = np.array([[1.0, 1.0, 0.0, 0.0]])
    posts = ([[1.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 1.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]])
    return comparison("sft", [emergence(base, np.array(post)) for post in posts[: len(steps)]], steps)


def rows(table: Table) -> list[tuple[object, ...]]:
    """The values of a table's rows."""
    return [tuple(row.values()) for row in table.rows]


def test_cohorts_stack_heads_by_first_emergence() -> None:
    figure = cohorts([hand_made()])
    areas = [trace for trace in figure.panels[0].plot.data if trace.stackgroup]
    assert [(trace.name, list(trace.y)) for trace in areas] == [("new at 10", [1, 0, 0]), ("new at 20", [0, 1, 1])]
    kept = next(trace for trace in figure.panels[0].plot.data if trace.name == "base heads kept")
    assert list(kept.y) == [2, 1, 1]
    assert [row[:3] for row in rows(figure.table)] == [("sft", 10, 1), ("sft", 20, 1), ("sft", 30, 1)]


def test_a_single_checkpoint_is_a_bar_because_an_area_would_be_invisible() -> None:
    traces = cohorts([hand_made((10,))]).panels[0].plot.data
    assert [list(trace.y) for trace in traces if trace.type == "bar"] == [[1]]


def test_frequency_counts_base_down_and_emergent_up() -> None:
    figure = frequency([hand_made()])
    cells = figure.panels[0].plot.data[0].z[0]
    assert np.allclose(np.array(cells, dtype=float), [-1, -1 / 3, 2 / 3, 1 / 3])
    assert rows(figure.table)[2][1:] == ("L0H2", "emergent", pytest.approx(2 / 3), "yes")


def test_emergence_map_puts_each_head_under_its_status() -> None:
    figure = emergence_map([hand_made()])
    marks = {trace.name: list(trace.x) for trace in figure.panels[0].plot.data}
    assert marks == {"in neither": [3], "contingent": [], "kept": [0], "new": [2], "lost (base only)": [1]}
    assert "1 kept (13), 1 new (1.5), 1 lost (1.5)" in figure.panels[0].title


def test_evidence_shows_operators_among_their_controls_and_doses(tmp_path: Path) -> None:
    estimate = Estimate(0.4, 0.3, 0.5, 30, "text bootstrap-t 95%")
    none = np.zeros(0)
    effects = tuple(
        OperatorEffect(
            name, estimate, estimate, np.array([0.1, 0.2]), none, estimate, 1 / 3, 1, float("nan"), 1, 2, 0, True
        )
        for name in ("zero", "mean")
    )
    dose = DoseResponse((0.0, 0.5), (estimate, estimate), None, None)
    result = Evidence("T1", HeadSet.of(["L0H1"]), 30, 2, effects, None, "because", dose=dose)
    finished(tmp_path / "lost", NotRun("none"))
    unit = finished(tmp_path / "kept", result, variant="sft", heads="kept", task="T1")
    figure = evidence([unit, Finished(tmp_path / "lost", {"variant": "sft", "heads": "lost", "task": "T1"}, Evidence)])
    assert [panel.title for panel in figure.panels] == ["sft, kept heads, T1: undecided", "sft, kept heads, T1: dose"]
    marks = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.panels[0].plot.data}
    assert marks["same layers"] == ([0.1, 0.2, 0.1, 0.2], ["zero", "zero", "mean", "mean"])
    assert marks["these heads"] == ([0.4, 0.4], ["zero", "mean"])
    assert list(figure.panels[1].plot.data[0].x) == [0.0, 0.5]
    assert [row[3:9] for row in rows(figure.table)] == [(name, 30, 0.4, 0.3, 0.5, 1) for name in ("zero", "mean")]


def ablation(folder: Path, task: str) -> Finished[AblationVerdict]:
    """Return a finished verdict on one task."""
    labels = {"variant": "sft", "heads": "emergent", "operator": "zero", "task": task}
    return finished(folder, verdict(-0.14, "supported"), **labels)


def test_forest_shows_effect_controls_rank_and_n(tmp_path: Path) -> None:
    plot = forest([ablation(tmp_path, "T1")]).panels[0].plot
    assert list(plot.data[0].x) == verdict(-0.14, "supported").control_effects.tolist()
    assert plot.data[2].x == (-0.14,)
    words = plot.layout.annotations[0].text
    assert all(part in words for part in ("n 200 × 1", "rank 1 of 21", "p = 0.048", "● supported"))


def test_names_are_not_markup_in_plots(tmp_path: Path) -> None:
    plot = forest([ablation(tmp_path, "<a href='x'>")]).panels[0].plot
    assert "<a" not in plot.layout.annotations[0].text


def test_every_figure_has_question_reading_basis_and_data(run: RunDirectory) -> None:
    figures = [figure for page in build_pages(RunResults(run), 1) for figure in page.figures()]
    assert len(figures) == 14
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.question.endswith("?")
        assert figure.reading
        assert figure.basis
        assert figure.table.rows, figure.name
        assert all(len(row) == len(figure.table.columns) for row in figure.table.rows), figure.name
        assert all(panel.plot.layout.showlegend for panel in figure.panels), figure.name


def test_pages_of_an_empty_study_say_so(tmp_path: Path) -> None:
    pages = build_pages(RunResults(RunWriter(tmp_path / "run", variants=()).close()), 3)
    assert [page.name for page in pages if not page.blocks] == ["reward"]


def test_the_last_step_counts_whatever_the_order(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run")
    for step in (60, 10):
        add_samples(run, "sft", step, "T1", samples("T1", {"p": "6"}), 0.5)
    results = RunResults(run.close())
    assert [unit.labels["step"] for unit in results.evaluations] == [10, 60]
    assert [unit.labels["step"] for unit in results.last_evaluations] == [60]


def test_paper_figure_saves_as_png_and_svg(run: RunDirectory, tmp_path: Path) -> None:
    figure = overview_figure(run)
    for name, start in (("heads.png", b"\x89PNG"), ("heads.svg", b"<?xml")):
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_paper_figure_needs_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished comparison"):
        overview_figure(RunWriter(tmp_path / "run").close())


def test_reward_of_a_variant_trained_elsewhere_comes_from_its_checkpoints(tmp_path: Path) -> None:
    logged = (RewardCount(10, 0.2, 0.1, 5, 2, 1, 0), RewardCount(20, 0.5, 0.1, 5, 1, 1, 1))
    before_the_log = RewardCount(0, float("nan"), float("nan"), 0, 2, 0, 0)
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(replace(hand_made(), reward=(before_the_log, *logged)), variant="sft")
    (figure,) = build_pages(RunResults(run.close()), 0)[2].figures()
    plot = figure.panels[0].plot
    line = next(trace for trace in plot.data if trace.name == "reward")
    assert list(line.y) == [0.2, 0.5]
    upper, lower = (
        {**axis.to_plotly_json(), "title": axis.title.standoff} for axis in (plot.layout.yaxis, plot.layout.yaxis2)
    )
    assert upper["title"] == lower["title"] == 15
    assert upper["zerolinewidth"] == lower["zerolinewidth"] == 2


def test_no_plot_carries_a_template(run: RunDirectory) -> None:
    plots = [
        panel.plot for page in build_pages(RunResults(run), 0) for figure in page.figures() for panel in figure.panels
    ]
    assert len(plots) > 5
    assert max(len(plot.layout.template.to_plotly_json().get("layout", {})) for plot in plots) == 0


def test_unknown_null_is_drawn_as_nothing() -> None:
    known = hand_made()
    unknown = replace(known.final.null.new, value=float("nan"), low=float("nan"), high=float("nan"))
    final = replace(known.final, null=replace(known.final.null, new=unknown), null_source="none")
    figure = emergence_map([replace(known, emergence=(*known.emergence[:-1], final))])
    assert "1 new (–)" in figure.panels[0].title


def test_relative_changes_show_the_mean_on_one_scale_and_overlaps_next_to_chance(tmp_path: Path) -> None:
    overlap = Overlap(0.5, 0.25, 0.1, 0.4, 0.01, 2, 3, 3, by_layer=True)
    alike = CircuitOverlap("sft", "grpo", "faithfulness", (0.05, 0.1), overlap, Estimate(0.9, 0.8, 0.95, 2, "made up"))
    grids = {"sft": np.array([[[1.0, 0.0, 0.0, 0.0]], [[0.0, -1.0, 0.0, 0.0]]]), "grpo": np.zeros((1, 1, 4))}
    effects = RelativeChanges(grids, (alike,), 0.8)
    run = RunWriter(tmp_path / "run")
    run.save(hand_made(), variant="sft")
    run.save(effects)
    pages = {page.name: page for page in build_pages(RunResults(run.close()), 0)}
    (figure,) = pages["effects"].figures()
    drawn = figure.panels[0].plot.data[0]
    assert ([list(row) for row in drawn.z], drawn.zmin, drawn.zmax) == ([[0.5, -0.5, 0.0, 0.0]], -1, 1)
    assert [panel.title for panel in figure.panels] == ["sft · 2 checkpoints", "grpo · 1 checkpoint"]
    assert rows(figure.table)[1] == ("sft", "L0H1", -0.5, -1.0)
    overlaps = next(block for block in pages["emergence-map"].blocks if isinstance(block, Table))
    (cells,) = markdown_rows(overlaps)
    assert cells[:4] == ["sft / grpo", "faithfulness", "5.0% / 10.0%", "2 of 3 / 3"]
    assert cells[4:] == ["0.5", "0.25 [0.10, 0.40]", "0.010", "0.90 [0.80, 0.95]"]


def markdown_rows(table: Table) -> list[list[str]]:
    """The cells of a table's rows as they are printed."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.markdown().split("\n")[2:]]


def test_of_many_variants_every_name_is_there_and_takes_no_room() -> None:
    names = [f"sft.seed{index}" for index in range(20)]
    few, many = (
        head_counts([comparison(name, series(3, 1)) for name in some]).panels[0].plot.to_plotly_json()["layout"]
        for some in (names[:3], names)
    )
    assert (few["xaxis"]["type"], many["yaxis"]["type"], many["yaxis"]["dtick"]) == ("category", "category", 1)
    assert many["height"] > 18 * len(names)
    plot = new_plot(height=300)
    for name in names:
        plot.add_scatter(y=[0.5], name=name)
    make_room_for_names(plot)
    room = plot.layout.legend.maxheight
    assert plot.layout.height == 300 + room
    assert room >= 19 * len(names) / 2


def test_seeds_of_one_recipe_look_alike_and_have_one_name(tmp_path: Path) -> None:
    levels = dict.fromkeys(("base", "sft", "sft.seed1", "sft.lr0"), 0.5)
    results = RunResults(seeded_run(tmp_path, levels).close())
    plot = accuracy(results.evaluations, results.marks).panels[0].plot
    assert [trace.name for trace in plot.data if trace.showlegend is not False] == ["base", "sft", "sft.lr0"]
    _, sft, seed, twin = plot.data
    assert sft.line == seed.line != twin.line
    assert sft.legendgroup == seed.legendgroup  # a click on the name hides both
    assert "Seeds of one recipe" in accuracy(results.evaluations, results.marks).basis
    alone = {name: results.marks[name] for name in ("base", "sft", "sft.lr0")}
    assert "Seeds of one recipe" not in accuracy(results.evaluations[:1], alone).basis


def test_many_lines_are_told_apart() -> None:
    marks = lines([f"recipe {place}" for place in range(36)]).values()
    assert len({(mark.colour, mark.symbol) for mark in marks}) == 36
