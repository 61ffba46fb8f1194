"""``.plot()`` and what a notebook shows, of every class of results."""

import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report.runs import head_scaling, measures, verdict, whole_run
from tests.results.examples import CLASSES, EXAMPLES, controlled_heads, coupling, curve, edge_scores, forced_losses

from headscope.heads import HeadSet
from headscope.results.frames import SAVED_AS, result_kinds
from headscope.results.not_run import NotRun
from headscope.results.overlap import RelativeChanges
from headscope.storage import Result


def drawn(result: Any) -> Any:
    """Return the axes of a result's figure, which has a title, a label and numbers, and can be saved."""
    figure = result.plot()
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    assert axes.get_title(loc="left")
    assert axes.get_xlabel()
    assert axes.has_data()
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert image.getbuffer().nbytes > 2_000
    return axes


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_result_draws_its_numbers(kind: type[Result]) -> None:
    if kind is NotRun:  # a sentence
        assert not hasattr(kind, "plot")
    else:
        drawn(EXAMPLES[kind]())


def test_a_coupling_draws_itself() -> None:
    drawn(coupling())


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_notebook_shows_every_result_without_scripts(kind: type[Result]) -> None:
    page = EXAMPLES[kind]()._repr_html_()
    HTMLParser().feed(page)
    assert kind.__name__ in page
    assert "<script" not in page
    assert len(page) < 50_000


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_result_is_a_line_in_a_terminal(kind: type[Result]) -> None:
    result = EXAMPLES[kind]()
    if type(result).__repr__ is not object.__repr__ and "_repr_html_" in vars(kind):
        assert repr(result).startswith(f"{kind.__name__}: ")
        assert "\n" not in repr(result)


def test_what_has_no_interval_draws_plain_numbers() -> None:
    line = drawn(curve()).lines[0]
    assert line.get_xydata().tolist() == [[0.01, 0.25], [0.1, 0.75]]
    losses = drawn(forced_losses())
    assert losses.lines[0].get_xdata()[0] == pytest.approx(0.5)
    assert sum(patch.get_height() for patch in losses.patches) == 2
    assert drawn(controlled_heads()).images[0].get_array().tolist() == [[0, 0, 0], [-0.5, -0.5, 1]]


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
    assert changes.plot().axes[0].get_title(loc="left").endswith("v0")
    assert changes.plot("v1").axes[0].images[0].get_array().shape == (36, 32)


def test_every_result_of_a_run_shows_itself(tmp_path: Path) -> None:
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
