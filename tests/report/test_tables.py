"""Tables beside the figures: the same comparison at other sizes, of edges and layers; how long heads stay; claims."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from headscope.report.findings import Findings, read

from headscope.comparison.claims import StudyResults, judge
from headscope.comparison.record import comparison_record
from headscope.report.blocks import Table
from headscope.report.pages import build_pages
from headscope.results.counts import EdgeChange, LayerProfile

from .runs import STEPS, RunWriter, series


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """GRPO with all that a comparison holds, and a study that was judged."""
    found = series(3, births=4)
    last = found[-1]
    grid = np.arange(24, dtype=np.float64).reshape(4, 6)
    profile = LayerProfile(grid, grid - 0.5, grid + 0.5, grid / 2, grid / 2, grid / 2, grid / 2)
    edges = EdgeChange(last.counts, last.null, last.excess, tuple(f"m{n}->logits" for n in range(7)), ())
    found[-1] = replace(last, layers=profile, edges=edges)
    rewards = [(step, float(np.sin(step))) for step in STEPS]
    run = RunWriter(tmp_path_factory.mktemp("counted") / "run", variants=("grpo",))
    record = comparison_record("grpo", list(zip(STEPS, found, strict=True)), found, rewards, [last])
    run.json("comparison", "comparison.json", record, variant="grpo")
    claims = {"schema_version": 1, "claims": [claim.as_dict() for claim in judge(StudyResults())]}
    (run.path / "claims.json").write_text(json.dumps(claims))
    return read(run.close())


def table(findings: Findings, name: str) -> Table:
    """The one table of this name on any page."""
    blocks = [block for page in build_pages(findings, 0) for block in page.blocks]
    (found,) = [block for block in blocks if isinstance(block, Table) and block.name == name]
    return found


def test_counts_stand_beside_their_null_at_every_size_and_layer(findings: Findings) -> None:
    counts = findings.comparisons[0].final.counts
    (rung,) = table(findings, "ladder").rows
    assert rung[:2] == ("grpo", "1.0%")
    assert rung[3] == f"{counts.new.value:.0f} [{counts.new.low:.0f}, {counts.new.high:.0f}] (1.5)".replace("-", "−")
    layers = table(findings, "layers").rows
    assert len(layers) == 6
    assert layers[2] == ("grpo", 2, "2.0 [1.5, 2.5] (1)", "8.0 [7.5, 8.5] (4)", "14.0 [13.5, 14.5] (7)")
    (edges,) = table(findings, "edges").rows
    assert edges[-1] == "m0->logits, m1->logits, m2->logits, m3->logits, m4->logits"


def test_reward_coupling_states_its_lags_and_points(findings: Findings) -> None:
    rows = table(findings, "coupling").rows
    assert [row[1] for row in rows] == [-3, -2, -1, 0, 1, 2, 3]
    assert [row[-1] for row in rows] == [0, 3, 4, 5, 4, 3, 0]
    assert len([row for row in rows if row[4]]) == 1


def test_heads_that_emerged_are_followed(findings: Findings) -> None:
    (row,) = table(findings, "persistence").rows
    followed = findings.comparisons[0].persistence
    assert followed is not None
    assert row[-2:] == (followed.heads, 6)
    assert str(row[1]).startswith(f"{followed.persistence.value:.2f} [")


def test_claims_are_shown_once_they_are_judged(findings: Findings, tmp_path: Path) -> None:
    rows = table(findings, "claims").rows
    assert [row[0] for row in rows] == [f"C{number}" for number in range(1, 11)]
    assert {row[2] for row in rows} == {"undecided"}
    assert not read(RunWriter(tmp_path / "run").close()).claims
