"""Faithfulness curves: CPR and CMD summed by hand, per pair and of the means; what is kept and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.results.faithfulness import Faithfulness, FaithfulnessCurve


def curve(circuits: Any, fractions: Any = (0.1, 0.5), full: Any = (0, 0), empty: Any = (4, 2)) -> FaithfulnessCurve:
    arrays = (np.array(values, dtype=np.float32) for values in (full, empty, circuits))
    return FaithfulnessCurve(*arrays, np.array(fractions), tuple(range(len(fractions))), {"metric": "kl"})


def test_areas_by_hand() -> None:
    found = curve([[4, 1], [1, 1]])
    # Means: 2.5 and 1 of 3 → f = 1/6, 2/3, and 1 at the whole graph.
    np.testing.assert_allclose(found.normalised(), [1 / 6, 2 / 3])
    assert found.cpr() == pytest.approx(0.4 * (1 / 6 + 2 / 3) / 2 + 0.5 * (2 / 3 + 1) / 2)
    assert found.cmd() == pytest.approx(0.4 * (5 / 6 + 1 / 3) / 2 + 0.5 * (1 / 3) / 2)
    np.testing.assert_allclose(found.pair_normalised, [[0, 0.5], [0.75, 0.5]])
    np.testing.assert_allclose(found.pair_cpr, [0.4 * 0.375 + 0.5 * 0.875, 0.4 * 0.5 + 0.5 * 0.75])
    np.testing.assert_allclose(found.pair_cmd, [0.4 * 0.625 + 0.5 * 0.125, 0.4 * 0.5 + 0.5 * 0.25])


def test_cpr_and_cmd_are_the_mib_benchmarks() -> None:
    """Its loop over percentages, written out (linear scale; CPR is its ``area_under``, CMD its ``area_from_1``)."""
    draw = np.random.default_rng(0)
    percentages = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
    circuits = draw.normal(size=(9, 5))
    found = curve(circuits, percentages[:-1], np.zeros(5), draw.normal(2, 1, size=5))
    faithfulnesses = [*found.normalised(), 1.0]
    area_under = area_from_1 = 0.0
    for index in range(9):
        width = percentages[index + 1] - percentages[index]
        one, other = faithfulnesses[index : index + 2]
        area_under += width * (one + other) / 2
        area_from_1 += width * (abs(1 - one) + abs(1 - other)) / 2
    assert found.cpr() == pytest.approx(area_under)
    assert found.cmd() == pytest.approx(area_from_1)


def test_a_perfect_curve_has_no_distance_and_the_whole_area() -> None:
    perfect = curve(np.zeros((2, 2)), (0.001, 0.5))
    assert perfect.cmd() == 0
    assert perfect.cpr() == pytest.approx(0.999)


def test_what_exceeds_the_model_raises_cpr_and_cmd_alike() -> None:
    better = curve([[-4, -2], [0, 0]])
    assert better.cpr() > curve(np.zeros((2, 2))).cpr()
    assert better.cmd() == pytest.approx(0.4 * 0.5)


def test_the_whole_graph_is_measured_where_it_is_among_the_sizes() -> None:
    found = curve([[2, 1], [1, 0.5]], (0.5, 1.0))
    assert found.cpr() == pytest.approx(0.5 * (0.5 + 0.75) / 2)


def test_weights_of_the_pairs_count() -> None:
    found = curve([[4, 1], [1, 1]])
    first = np.array([1.0, 0.0])
    assert found.cpr(first) == pytest.approx(found.pair_cpr[0])
    assert found.cmd(first) == pytest.approx(found.pair_cmd[0])


def test_equal_clean_and_patched_metrics_have_no_faithfulness() -> None:
    found = curve([[1, 1], [1, 1]], full=(0, 1), empty=(4, 1))
    assert np.isnan(found.pair_cpr).tolist() == [False, True]
    assert np.isnan(found.pair_cmd).tolist() == [False, True]


def test_sizes_are_taken_and_single_circuits_read() -> None:
    found = curve([[4, 1], [1, 1], [0, 0]], (0.1, 0.2, 0.5))
    some = found.take([0.5, 0.1])
    np.testing.assert_array_equal(some.fractions, [0.1, 0.5])
    assert some.edges == (0, 2)
    assert found[1].normalised == pytest.approx(2 / 3)
    assert found[1].settings == {"metric": "kl", "fraction": 0.2}
    with pytest.raises(InputError, match="no circuit of fraction"):
        found.take([0.3])


def test_saving_and_loading_is_the_identity(tmp_path: Path) -> None:
    found = curve([[4, 1], [1, 1]])
    found.save(tmp_path)
    again = FaithfulnessCurve.load(tmp_path)
    for name in ("full", "empty", "circuits", "fractions"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.edges, again.settings) == (found.edges, found.settings)
    with pytest.raises(InputError, match="missing"):
        FaithfulnessCurve.load(tmp_path / "elsewhere")


@pytest.mark.parametrize("fractions", [(0.5, 0.1), (0.0, 0.5), (0.5, 1.5)])
def test_fractions_out_of_order_or_range_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="ascending"):
        curve(np.zeros((2, 2)), fractions)


def test_a_metric_that_is_not_finite_names_its_pair() -> None:
    with pytest.raises(InputError, match="'circuit' of pair 1"):
        curve([[0, np.nan], [0, 0]])
    one = np.zeros(2, dtype=np.float32)
    with pytest.raises(InputError, match="'empty' of pair 0"):
        Faithfulness(one, np.array([np.inf, 0], dtype=np.float32), one, 3)
