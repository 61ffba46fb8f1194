"""``.plot()`` and what a notebook shows, of every result that has a picture."""

import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import (
    RunWriter,
    comparison,
    faithfulness,
    head_revert,
    head_scaling,
    measures,
    read,
    series,
    t1_answers,
    training_effects,
    verdict,
    whole_run,
)
from tests.report.test_tables import add_failures, crossed

from headscope.heads import HeadSet
from headscope.results.circuit import Circuit
from headscope.results.coupling import Coupling
from headscope.results.edges import EdgeScores
from headscope.results.failures import FailureChanges
from headscope.results.graph import Graph
from headscope.results.overlap import RelativeChanges
from headscope.results.result import JsonResult
from headscope.results.reward_coupling import RewardCoupling
from headscope.results.role_losses import RoleLosses
from headscope.results.transitions import Transitions
from headscope.storage import Result
from headscope.traces.summary import summarise
from headscope.traces.transitions import compare_answers


def edge_scores() -> EdgeScores:
    graph = Graph(2, 3)
    edges = np.where(graph.real, 0.1, 0).astype(np.float32)
    return EdgeScores(graph, edges, np.abs(edges), np.ones((4, 2, 3), np.float32), None, 0.01, 1.0)


def coupling() -> Coupling:
    lags = np.arange(-1, 2)
    return Coupling(lags, lags / 4, lags / 4 - 0.2, lags / 4 + 0.2, np.full(3, 0.5), np.full(3, 12), 0.4, 2, 100, 0)


def transitions() -> Transitions:
    before, after = t1_answers("base"), t1_answers("sft")
    return compare_answers(before, after, read(before), read(after))


def of_failures(kind: type[Result]) -> Any:
    with TemporaryDirectory() as folder:
        run = RunWriter(Path(folder))
        add_failures(run)
        return run.close().results(kind)[0].whole


RESULTS: dict[str, Callable[[], Any]] = {
    "EdgeScores": edge_scores,
    "Circuit": lambda: Circuit(edge_scores().graph, edge_scores().edges > 0),
    "Emergence": lambda: series(3, births=4)[-1],
    "Comparison": lambda: comparison("sft", series(3, births=4)),
    "Coupling": coupling,
    "FaithfulnessEstimates": lambda: faithfulness(0.9),
    "Measures": lambda: measures(0.5, is_base=False),
    "AblationVerdict": lambda: verdict(-0.1, "supported"),
    "TrainingEffects": lambda: training_effects("sft", 0.8),
    "HeadScaling": head_scaling,
    "HeadRevert": head_revert,
    "RewardCoupling": lambda: RewardCoupling("grpo", {"grpo": coupling()}, coupling(), {}),
    "FailureChanges": lambda: of_failures(FailureChanges),
    "RoleLosses": lambda: of_failures(RoleLosses),
    "Crossed": crossed,
    "Transitions": transitions,
    "TraceSummary": lambda: summarise(read(t1_answers("sft"))),
    "Samples": lambda: t1_answers("sft"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_it_draws_its_numbers(name: str) -> None:
    figure = RESULTS[name]().plot()
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert axes.get_title(loc="left")
    assert axes.get_xlabel()
    assert axes.has_data()
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert image.getbuffer().nbytes > 2_000


@pytest.mark.parametrize("name", RESULTS)
def test_a_notebook_shows_it_without_scripts(name: str) -> None:
    result = RESULTS[name]()
    if isinstance(result, JsonResult | EdgeScores | Circuit):
        page = result._repr_html_()
        HTMLParser().feed(page)
        assert "<script" not in page
        assert len(page) < 50_000


def test_it_shows_the_values() -> None:
    effect = verdict(-0.1, "supported")
    axes = effect.plot().axes[0]
    assert axes.lines[0].get_xdata()[0] == effect.effect.value
    assert sum(patch.get_height() for patch in axes.patches if patch.get_height() >= 1) >= effect.controls
    curve = measures(0.5, is_base=False)
    assert list(curve.plot().axes[0].lines[0].get_ydata()) == [at.value for at in curve.pass_at_k.values()]
    grid = head_scaling()
    shown = grid.plot().axes[0].images[0].get_array()
    assert np.array_equal(np.isnan(grid.ablation.value), np.ma.getmaskarray(np.ma.masked_invalid(shown)))
    assert shown[1, 1] == 0.5


def test_hostile_names_are_text_and_long_ones_are_cut() -> None:
    page = verdict(-0.1, "<img onerror=1>", task="x" * 10_000)._repr_html_()
    assert "<img" not in page
    assert "&lt;img onerror=1&gt;" in page
    assert len(page) < 50_000


def test_large_models_stay_small() -> None:
    heads = {f"v{number}": np.random.default_rng(0).normal(size=(1, 36, 32)) for number in range(4)}
    changes = RelativeChanges(heads, (), 0.9)
    assert len(changes._repr_html_()) < 50_000
    assert changes.plot("v0").axes[0].images[0].get_array().shape == (36, 32)


def test_every_result_of_a_run_shows_itself(tmp_path: Path) -> None:
    from headscope.results.frames import SAVED_AS, result_kinds
    from headscope.results.not_run import NotRun

    run = whole_run(tmp_path / "lab")
    kinds: dict[str, Any] = result_kinds()
    for kind in dict.fromkeys(row["kind"] for row in run.rows()):
        if SAVED_AS.get(kind, kind) not in kinds:
            continue
        for unit in run.results(kinds[kind]):
            if not isinstance(unit.result, NotRun):
                shown = getattr(unit.result, "_repr_html_", unit.result.__repr__)()
                assert len(shown) < 50_000


def test_drawing_touches_no_global_state() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    HeadSet.of(["L0H0"])
    edge_scores().plot()
    assert plt.get_fignums() == before
