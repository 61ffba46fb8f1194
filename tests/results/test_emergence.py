"""Results of comparisons: statuses, and JSON there and back."""

import json

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.codec import from_json, to_json
from headscope.results.dynamics import Dynamics, Event
from headscope.results.emergence import Counts, Emergence, HeadEstimates, Status, status_grid
from headscope.results.estimate import Estimate
from headscope.results.verdict import AblationVerdict


def counts(value: float) -> Counts:
    return Counts(*(Estimate(value + k, value, value + 9, 8, "pair bootstrap 95%", 0) for k in range(4)))


def an_emergence() -> Emergence:
    grid = np.array([[0.0, 0.5], [1.0, 0.95]])
    return Emergence(
        base_frequency=grid,
        post_frequency=grid[::-1].copy(),
        counts=counts(1.0),
        null=counts(0.5),
        excess=counts(0.5),
        importance_change=HeadEstimates(grid, grid - 1, grid + 1),
        pairs=8,
        null_pairs=4,
        null_source="halves",
        fraction=0.01,
        resamples=200,
        seed=3,
        settings={"base": {"pairs": "aa"}, "post": {"pairs": "aa"}},
    )


def test_status_of_every_combination() -> None:
    levels = np.array([0.0, 0.5, 1.0])
    base, post = (grid.T for grid in np.meshgrid(levels, levels))
    assert status_grid(base, post).tolist() == [
        [Status.ABSENT, Status.CONTINGENT, Status.NEW],
        [Status.CONTINGENT, Status.CONTINGENT, Status.CONTINGENT],
        [Status.LOST, Status.CONTINGENT, Status.KEPT],
    ]


def test_thresholds_themselves_are_inside() -> None:
    edge, low = np.array([0.9]), np.array([0.1])
    assert status_grid(edge, edge).tolist() == [Status.KEPT]
    assert status_grid(low, low).tolist() == [Status.CONTINGENT]


def test_head_sets_partition_the_grid() -> None:
    found = an_emergence()
    sets = [found.heads(status) for status in Status]
    assert sum(map(len, sets)) == 4
    assert (str(found.new), str(found.lost), str(found.contingent)) == ("L0H0", "L1H0", "L0H1 L1H1")


def test_emergence_survives_json() -> None:
    written = json.dumps(an_emergence().as_dict())
    back = Emergence.from_dict(json.loads(written))
    assert json.dumps(back.as_dict()) == written
    assert np.array_equal(back.status, an_emergence().status)
    assert back.counts == counts(1.0)
    assert json.loads(written)["heads"]["new"] == ["L0H0"]


def test_verdict_survives_json() -> None:
    one = Estimate(0.5, 0.4, 0.6, 30, "problem bootstrap 95%", 0)
    verdict = AblationVerdict(
        task="t1",
        operator="zero",
        heads=HeadSet.of(["L3H5"]),
        reading="undecided",
        reason="because",
        baseline=one,
        ablated=one,
        effect=one,
        control_effects=np.array([0.1, -0.2]),
        excess=one,
        p_value=2 / 3,
        rank=2,
        direction="lower",
        margin=0.05,
        samples=4,
        seed=0,
    )
    written = json.dumps(verdict.as_dict())
    back = AblationVerdict.from_dict(json.loads(written))
    assert json.dumps(back.as_dict()) == written
    assert (back.heads, back.rank, back.controls) == (verdict.heads, 2, 2)


def test_dynamics_survive_json() -> None:
    active = np.array([[[True, False]], [[True, True]]])
    first = np.array([[0, 1]])
    events = (Event(10, "L0H0", "birth"),)
    dynamics = Dynamics(np.array([10, 20]), active, ~active, active[0], first, 2, events)
    written = json.dumps(to_json(dynamics))
    back = from_json(Dynamics, json.loads(written), "test")
    assert json.dumps(to_json(back)) == written
    assert back.events == events
    assert back.cohorts.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("version", [99, None, "1"])
def test_another_schema_is_refused(version: object) -> None:
    data = {**an_emergence().as_dict(), "schema_version": version}
    with pytest.raises(InputError, match="schema_version"):
        Emergence.from_dict(data)
