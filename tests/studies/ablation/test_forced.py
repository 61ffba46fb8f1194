"""Controls forced in turn: how many are run, and that their numbers are those of one sweep over all."""

from pathlib import Path

import numpy as np
import pytest

from headscope.interventions import TeacherForcedMetrics
from headscope.results.forced_losses import ForcedLosses
from headscope.storage import load, save
from headscope.studies.ablation.forced import force_in_turn

SHAPE = (2, 4)
TEXTS = 3


def grid_of(effects: list[float]) -> np.ndarray:
    """One edit per effect, which the sweep below reads off it."""
    return np.broadcast_to(np.array(effects, dtype=np.float32)[:, None, None], (len(effects), *SHAPE))


class Sweep:
    """A sweep in which every text loses what the edit says."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, edits: np.ndarray) -> TeacherForcedMetrics:
        self.sizes.append(len(edits))
        nll = np.repeat(edits[:, 0, :1].astype(float), TEXTS, axis=1)
        return TeacherForcedMetrics(nll, -nll)


@pytest.mark.parametrize(("effect", "run"), [(0.3, 20), (2.0, 200), (0.85, 80)])
def test_controls_are_run_until_ten_do_as_much(effect: float, run: int) -> None:
    sweep = Sweep()
    # Every seventh or eighth of the layer-matched sets does 0.9, the others from 0 to 0.8.
    effects = [0.9 if index % 7 == 0 else (index % 9) / 10 for index in range(200)]
    first, (controls, matched) = force_in_turn(sweep, grid_of([0, effect, 0.1]), [grid_of(effects), grid_of([])])
    assert len(first.nll) == 3
    assert len(controls.nll) == run
    assert len(matched.nll) == 0
    np.testing.assert_allclose(controls.nll[:, 0], effects[:run], rtol=1e-6)
    assert (controls.accuracy == -controls.nll).all()
    assert sweep.sizes == [23, *[20] * (run // 20 - 1)]


def test_each_kind_of_control_stops_by_itself() -> None:
    sweep = Sweep()
    _, (controls, matched) = force_in_turn(sweep, grid_of([0, 1]), [grid_of([2] * 60), grid_of([0] * 30)])
    assert (len(controls.nll), len(matched.nll)) == (20, 30)
    assert sweep.sizes == [42, 10]


def test_losses_of_before_had_all_their_controls(tmp_path: Path) -> None:
    arrays = {"nll": np.zeros((5, 2)), "accuracy": np.zeros((5, 2))}
    save(tmp_path, "losses", 1, arrays, {"controls": 2, "matched": 1, "problems": 2, "doses": []})
    losses = ForcedLosses.load(tmp_path)
    assert (losses.controls_available, losses.matched_available) == (2, 1)
    losses.save(tmp_path)
    assert load(tmp_path, "losses", 2, keys=("controls_available",), arrays=())[0]["matched_available"] == 1
