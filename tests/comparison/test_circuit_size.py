"""The size of a circuit: the smallest that is faithful in both models, and a sentence if none is."""

import pytest

from headscope.comparison import choose_circuit
from headscope.errors import InputError
from headscope.results.comparison import CircuitSize
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessEstimates

SIZES = (0.01, 0.05, 0.2, 0.5)


def _curve(*values: float) -> FaithfulnessEstimates:
    points = tuple(Estimate(value, value, value, 10, "bootstrap") for value in values)
    return FaithfulnessEstimates("kl", SIZES, (1, 5, 20, 50), points, points[0], points[0])


def test_it_is_the_smallest_at_which_both_models_are_faithful() -> None:
    circuit = choose_circuit(_curve(0.7, 0.85, 0.9, 1.0), _curve(0.9, 0.75, 0.81, 1.0))
    assert (circuit.fraction, circuit.base.value, circuit.post.value) == (0.2, 0.9, 0.81)
    assert circuit.faithful
    assert circuit.caveat == ""
    assert choose_circuit(_curve(0.7, 0.85, 0.9, 1.0), _curve(0.9, 0.75, 0.81, 1.0), faithfulness=0.7).fraction == 0.01


def test_beyond_a_fifth_of_the_edges_nothing_is_a_circuit() -> None:
    circuit = choose_circuit(_curve(0.1, 0.3, 0.4, 0.99), _curve(0.1, 0.2, 0.9, 0.99))
    assert circuit.fraction == 0.2
    assert not circuit.faithful
    assert circuit.caveat == (
        "no circuit of up to 20.0% of the edges is faithful (0.40 in the base, 0.90 after training; 0.8 is wanted)"
    )


def test_a_size_that_was_asked_for_is_taken_and_judged() -> None:
    circuit = choose_circuit(_curve(0.1, 0.3, 0.9, 1.0), _curve(0.1, 0.2, 0.9, 1.0), fraction=0.05)
    assert (circuit.fraction, circuit.given, circuit.faithful) == (0.05, True, False)
    assert circuit.caveat.startswith("the circuit of 5.0% of the edges is not faithful")
    with pytest.raises(InputError, match=r"found no circuit of fraction 0\.1"):
        choose_circuit(_curve(0.1, 0.3, 0.9, 1.0), _curve(0.1, 0.2, 0.9, 1.0), fraction=0.1)


def test_a_metric_that_is_the_same_everywhere_is_faithful_nowhere() -> None:
    nowhere = _curve(*[float("nan")] * 4)
    circuit: CircuitSize = choose_circuit(nowhere, nowhere)
    assert not circuit.faithful
    assert "–" in circuit.caveat
