"""Figures show the numbers of the results: hand-made statuses are found again in marks, lines and tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from headscope.report.findings import Ablation, Asked, Comparison, Findings, read

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.report.blocks import Table
from headscope.report.figures.cohorts import cohorts
from headscope.report.figures.emergence_map import emergence_map
from headscope.report.figures.evidence import evidence
from headscope.report.figures.forest import forest
from headscope.report.figures.frequency import frequency
from headscope.report.pages import build_pages
from headscope.report.pages.emergence import emergence as emergence_page
from headscope.report.paper import overview_figure
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Evidence, OperatorEffect
from headscope.results.overlap import EffectMap, Likeness, Overlap
from headscope.runs import RunDirectory

from .runs import RunWriter, dynamics, emergence, verdict

STEPS = (10, 20, 30)


def hand_made(steps: tuple[int, ...] = STEPS) -> Comparison:
    """One layer of four heads: H0 stays, H1 is lost at 20, H2 is new from 20 on, H3 new at 10 only."""
    base = np.array([[1.0, 1.0, 0.0, 0.0]])
    posts = ([[1.0, 1.0, 0.0, 1.0]], [[1.0, 0.0, 1.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]])
    found = tuple(emergence(base, np.array(post)) for post in posts[: len(steps)])
    return Comparison("sft", steps, found, found, dynamics(list(found), steps))


def test_cohorts_stack_heads_by_first_emergence() -> None:
    figure = cohorts([hand_made()])
    areas = [trace for trace in figure.panels[0].plot.data if trace.stackgroup]
    assert [(trace.name, list(trace.y)) for trace in areas] == [("new at 10", [1, 0, 0]), ("new at 20", [0, 1, 1])]
    kept = next(trace for trace in figure.panels[0].plot.data if trace.name == "base heads kept")
    assert list(kept.y) == [2, 1, 1]
    assert [row[:3] for row in figure.table.rows] == [("sft", 10, 1), ("sft", 20, 1), ("sft", 30, 1)]


def test_a_single_checkpoint_is_a_bar_because_an_area_would_be_invisible() -> None:
    traces = cohorts([hand_made((10,))]).panels[0].plot.data
    assert [list(trace.y) for trace in traces if trace.type == "bar"] == [[1]]


def test_frequency_counts_base_down_and_emergent_up() -> None:
    figure = frequency([hand_made()])
    cells = figure.panels[0].plot.data[0].z[0]
    assert np.allclose(np.array(cells, dtype=float), [-1, -1 / 3, 2 / 3, 1 / 3])
    assert [row[1:] for row in figure.table.rows][2] == ("L0H2", "emergent", pytest.approx(2 / 3), "yes")


def test_emergence_map_puts_each_head_under_its_status() -> None:
    figure = emergence_map([hand_made()])
    marks = {trace.name: list(trace.x) for trace in figure.panels[0].plot.data}
    assert marks == {"in neither": [3], "contingent": [], "kept": [0], "new": [2], "lost (base only)": [1]}
    assert "1 kept (13), 1 new (1.5), 1 lost (1.5)" in figure.panels[0].title


def test_evidence_shows_operators_among_their_controls_and_doses() -> None:
    estimate = Estimate(0.4, 0.3, 0.5, 30, "text bootstrap-t 95%")
    none = np.zeros(0)
    effects = tuple(
        OperatorEffect(name, estimate, estimate, np.array([0.1, 0.2]), none, estimate, 1 / 3, float("nan"), True)
        for name in ("zero", "mean")
    )
    dose = DoseResponse((0.0, 0.5), (estimate, estimate), None, None)
    found = Evidence("T1", HeadSet.of(["L0H1"]), 30, 2, effects, None, "because", dose=dose)
    figure = evidence([Asked("sft", "kept", "T1", found, "because"), Asked("sft", "lost", "T1", None, "none")])
    assert [panel.title for panel in figure.panels] == ["sft, kept heads, T1: undecided", "sft, kept heads, T1: dose"]
    marks = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.panels[0].plot.data}
    assert marks["same layers"] == ([0.1, 0.2, 0.1, 0.2], ["zero", "zero", "mean", "mean"])
    assert marks["these heads"] == ([0.4, 0.4], ["zero", "mean"])
    assert list(figure.panels[1].plot.data[0].x) == [0.0, 0.5]
    assert [row[3:9] for row in figure.table.rows] == [(name, 30, 0.4, 0.3, 0.5, 1) for name in ("zero", "mean")]


def test_forest_shows_effect_controls_rank_and_n() -> None:
    found = verdict(-0.14, "supported")
    figure = forest([Ablation("sft", "emergent", "zero", "T1", found, found.reason)])
    plot = figure.panels[0].plot
    assert list(plot.data[0].x) == found.control_effects.tolist()
    assert plot.data[2].x == (-0.14,)
    words = plot.layout.annotations[0].text
    assert all(part in words for part in ("n 200 × 1", "rank 1 of 21", "p = 0.048", "● supported"))


def test_names_are_not_markup_in_plots() -> None:
    found = verdict(-0.14, "supported")
    plot = forest([Ablation("sft", "emergent", "zero", "<a href='x'>", found, "")]).panels[0].plot
    assert "<a" not in plot.layout.annotations[0].text


def test_every_figure_has_question_reading_basis_and_data(run: RunDirectory) -> None:
    figures = [figure for page in build_pages(read(run), 1) for figure in page.figures()]
    assert len(figures) == 8
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.question.endswith("?")
        assert figure.reading
        assert figure.basis
        assert figure.table.rows, figure.name
        assert all(len(row) == len(figure.table.columns) for row in figure.table.rows), figure.name
        assert all(panel.plot.layout.showlegend for panel in figure.panels), figure.name


def test_pages_of_an_empty_study_say_so() -> None:
    pages = build_pages(Findings({"name": "x", "variants": []}, {}, ()), 3)
    assert [page.name for page in pages if not page.blocks] == ["reward"]


def test_later_steps_are_final(run: RunDirectory) -> None:
    findings = read(run)
    first = findings.evaluations[-1]
    earlier = replace(first, step=10)
    finals = replace(findings, evaluations=(first, earlier)).finals
    assert [each.step for each in finals] == [60]


def test_paper_figure_saves_as_png_and_svg(run: RunDirectory, tmp_path: Path) -> None:
    figure = overview_figure(run)
    for name, start in (("heads.png", b"\x89PNG"), ("heads.svg", b"<?xml")):
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_paper_figure_needs_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished comparison"):
        overview_figure(RunWriter(tmp_path / "run").close())


def test_reward_of_a_variant_trained_elsewhere_comes_from_its_checkpoints(tmp_path: Path) -> None:
    rewards = ({"step": 10, "reward": 0.2, "reward_sd": 0.1}, {"step": 20, "reward": 0.5, "reward_sd": 0.1})
    there = replace(hand_made(), reward=rewards)
    findings = Findings({"name": "x"}, {}, ("sft",), comparisons=(there,))
    figure = next(build_pages(findings, 0)[2].figures())
    line = next(trace for trace in figure.panels[0].plot.data if trace.name == "reward")
    assert list(line.y) == [0.2, 0.5]


def test_unknown_null_is_drawn_as_nothing() -> None:
    known = hand_made()
    unknown = replace(known.final.null.new, value=float("nan"), low=float("nan"), high=float("nan"))
    final = replace(known.final, null=replace(known.final.null, new=unknown), null_source="none")
    figure = emergence_map([replace(known, emergence=(*known.emergence[:-1], final))])
    assert "1 new (–)" in figure.panels[0].title


def test_effect_map_shows_the_mean_on_one_scale_and_overlaps_beside_chance() -> None:
    overlap = Overlap(0.5, 0.25, 0.1, 0.4, 0.01, 2, 3, 3, by_layer=True)
    alike = Likeness("sft", "grpo", "faithfulness", (0.05, 0.1), overlap, Estimate(0.9, 0.8, 0.95, 2, "made up"))
    found = EffectMap({"sft": np.array([[[1.0, 0.0]], [[0.0, -1.0]]]), "grpo": np.zeros((1, 1, 2))}, (alike,), 0.8)
    page = emergence_page(Findings({"name": "x"}, {}, ("sft", "grpo"), (hand_made(),), effects=found))
    _, figure = page.figures()
    drawn = figure.panels[0].plot.data[0]
    assert ([list(row) for row in drawn.z], drawn.zmin, drawn.zmax) == ([[0.5, -0.5]], -1, 1)
    assert [panel.title for panel in figure.panels] == ["sft · 2 checkpoints", "grpo · 1 checkpoints"]
    assert figure.table.rows[1] == ("sft", "L0H1", -0.5, -1.0)
    table = next(block for block in page.blocks if isinstance(block, Table))
    assert table.rows[0][:6] == (
        *("sft / grpo", "faithfulness", "5.0% / 10.0%", "2 of 3 / 3", 0.5),
        "0.25 [0.10, 0.40]",
    )
    assert "0.9" in table.rows[0][7]
