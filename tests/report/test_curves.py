"""Training curves: every logged quantity of every variant, and no picture of nothing."""

import json
from pathlib import Path

import pytest

from headscope.errors import InputError
from headscope.report.curves import PANELS, curves_figure

from .runs import RunWriter, add_samples, samples

LOG = [{"step": step, "reward": step / 10, "completion_length": 5.0 + step} for step in range(1, 9)]
TOKEN_LOG = [{"step": step, "token_accuracy": 0.9} for step in (1, 2)]


def add_log(run: RunWriter, variant: str, log: list[dict[str, float]]) -> None:
    """Add a training unit with this log."""
    lines = "".join(json.dumps(entry) + "\n" for entry in log)
    (run.unit("train", variant=variant) / "log.jsonl").write_text(lines)


def test_a_panel_per_quantity_with_the_variants_that_log_it(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run")
    add_log(run, "grpo", LOG)
    add_log(run, "sft", TOKEN_LOG)
    axes = curves_figure(run.close()).axes
    assert [axis.get_ylabel() for axis in axes] == [title for _, title in PANELS]
    drawn = [[line.get_label() for line in axis.lines if not line.get_label().startswith("_")] for axis in axes]
    assert drawn == [["grpo"], ["sft"], ["grpo"]]
    smoothed, points = axes[0].lines
    assert points.get_ydata() == pytest.approx([entry["reward"] for entry in LOG])
    # Running means over at most five steps: 1; 1-2; … 4-8.
    assert smoothed.get_ydata()[[0, 1, 7]] == pytest.approx([0.1, 0.15, 0.6])


def test_final_scores_stand_in_a_panel_of_their_own(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run")
    add_log(run, "grpo", LOG)
    for variant, level in (("base", 0.3), ("grpo", 0.7)):
        add_samples(run, variant, 0, "T1", samples("T1", {"p": "6"}), level)
    scores = curves_figure(run.close()).axes[-1]
    assert [text.get_text() for text in scores.get_xticklabels()] == ["T1"]
    assert [container.lines[0].get_ydata()[0] for container in scores.containers] == pytest.approx([0.3, 0.7])


def test_a_run_without_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run holds no training log"):
        curves_figure(RunWriter(tmp_path / "run").close())
