"""Training curves: every logged quantity of every variant, and no picture of nothing."""

from pathlib import Path

import pytest
from headscope.report.findings import Findings

from headscope.errors import InputError
from headscope.report import curves
from headscope.runs import RunDirectory

RUN = RunDirectory(Path("runs/none"))
LOG = tuple({"step": step, "reward": step / 10, "completion_length": 5.0 + step} for step in range(1, 9))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings(
        study={},
        provenance={},
        variants=("sft", "grpo"),
        training={"grpo": LOG, "sft": tuple({"step": step, "token_accuracy": 0.9} for step in (1, 2))},
    )
    monkeypatch.setattr(curves, "read", lambda run: findings)


@pytest.mark.usefixtures("found")
def test_a_panel_per_quantity_with_the_variants_that_log_it() -> None:
    axes = curves.curves_figure(RUN).axes
    assert [axis.get_ylabel() for axis in axes] == [title for _, title in curves.PANELS]
    drawn = [[line.get_label() for line in axis.lines if not line.get_label().startswith("_")] for axis in axes]
    assert drawn == [["grpo"], ["sft"], ["grpo"]]
    smoothed, points = axes[0].lines
    assert points.get_ydata() == pytest.approx([entry["reward"] for entry in LOG])
    # Running means over at most five steps: 1; 1-2; … 4-8.
    assert smoothed.get_ydata()[[0, 1, 7]] == pytest.approx([0.1, 0.15, 0.6])


def test_a_run_without_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "read", lambda run: Findings({}, {}, ()))
    with pytest.raises(InputError, match="runs/none holds no training log"):
        curves.curves_figure(RUN)
