"""Scores against reality: predicted and measured changes on the lab's trained base model, as rank correlations.

The bounds lie below what ``benchmarks/patches.py --quick`` printed for seeds 0 and 1 (in brackets the lower one).
"""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

PATCHES = Path(__file__).parents[2] / "benchmarks" / "patches.py"


pytestmark = pytest.mark.xdist_group("reality")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], Any]:
    threads = torch.get_num_threads()
    rows = runpy.run_path(str(PATCHES))["predicted_against_patched"](quick=True)
    torch.set_num_threads(threads)
    return {(row.on.split(",")[0], row.method): row for row in rows}


def test_the_clean_gradient_ranks_the_patches_of_single_edges(rows: dict[tuple[str, str], Any]) -> None:
    row = rows["folds", "eap"]
    assert row.edges > 0.85  # (0.94)
    assert row.sizes > 0.95  # (0.98)
    assert row.top > 0.8  # (0.89)
    assert row.heads > 0.6  # (0.75)


@pytest.mark.parametrize("method", ["eap-ig, 8 Gauss nodes", "eap-ig, 64 Gauss nodes", "eap-ig, adaptive"])
def test_the_integrated_gradient_ranks_edges_by_size(rows: dict[tuple[str, str], Any], method: str) -> None:
    assert rows["folds", method].sizes > 0.75  # (0.85)
    assert rows["folds", method].heads > 0.3  # (0.46)
    assert rows["openings", method].sizes > 0.35  # (0.50)
