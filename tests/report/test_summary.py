"""The summary: every cell by hand."""

from pathlib import Path

from headscope.report import RunResults
from headscope.report.tables.summary import summary
from headscope.results.not_run import NotRun
from headscope.results.table import display_text
from headscope.runs import RunDirectory

from .runs import RunWriter, add_samples, samples


def cells(run: RunDirectory, line: int) -> list[str]:
    """The cells of one row."""
    return [display_text(value) for value in summary(RunResults(run)).rows[line].values()]


def test_each_number_has_its_interval_null_and_n(run: RunDirectory) -> None:
    heads = ("heads kept / new / lost (null)", "new above null", "faithfulness", "strongest ablation")
    columns = ("model", "pass@1 T1 (500 × 16)", "pass@1 T2 (500 × 16)", *heads)
    assert summary(RunResults(run)).columns == columns
    assert cells(run, 0) == ["base", "0.30 [0.26, 0.34]", "0.10 [0.06, 0.14]", "–", "–", "–", "–"]
    sft = cells(run, 1)
    assert sft[3:5] == ["12 / 12 / 3 (13 / 1.5 / 1.5)", "+10.5 [+8.0, +13.0]"]
    assert sft[5] == "0.72 [0.70, 0.74] at 1.0% of edges"
    effect = "−0.14 [−0.17, −0.11]"
    assert sft[6] == f"emergent zero T1: {effect} (random −0.02, rank 1 of 21) ● supported"


def test_what_is_not_done_is_a_dash(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("grpo",))
    add_samples(run, "base", 0, "T1", samples("T1", {"p": "6"}), 0.3)
    assert cells(run.close(), 1) == ["grpo", "–", "–", "–", "–", "–"]


def test_only_empty_head_sets(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("grpo",))
    run.save(NotRun("no emergent head"), "verdict", variant="grpo", heads="emergent", operator="zero", task="T1")
    assert cells(run.close(), 1)[-1] == "no heads to remove"
