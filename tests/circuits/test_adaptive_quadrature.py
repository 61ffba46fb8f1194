"""Adaptive quadrature on functions whose integrals are known: its nodes, its error, and what it cannot do."""

from collections.abc import Callable

import numpy as np
import pytest

from headscope.circuits.adaptive_quadrature import NODE_CAP, TOLERANCE, AdaptiveQuadrature

EPSILON = float(np.finfo(np.float32).eps)
# Two edges, the input's and another: matrices [source, destination] = [2, 1].
Curve = Callable[[np.ndarray], np.ndarray]


def integrate(inputs: Curve, loss: Curve, second: Curve, epsilon: float = EPSILON) -> AdaptiveQuadrature:
    path = AdaptiveQuadrature(epsilon)
    while len(path.next_alphas):
        alphas = path.next_alphas
        scores = np.stack([inputs(alphas), second(alphas)], axis=-1)[..., None].astype(np.float32)
        path.add(scores, loss(alphas).astype(np.float32))
    return path


def fall(at: float, width: float, height: float = 20.0) -> tuple[Curve, Curve]:
    """A loss that falls from ``height`` to 0 at one place, and the input's scores, −dL/dα."""

    def loss(alpha: np.ndarray) -> np.ndarray:
        return height / 2 * (1 - np.tanh((alpha - at) / width / 2))

    return lambda alpha: loss(alpha) * (1 - loss(alpha) / height) / width, loss


def flat(alpha: np.ndarray) -> np.ndarray:
    return np.ones_like(alpha)


def test_cubics_are_exact_with_the_first_nodes() -> None:
    path = integrate(lambda a: 4 * a**3, lambda a: 1 - a**4, lambda a: 3 * a**2 - 2 * a)
    assert len(path.alphas) == 9
    np.testing.assert_allclose(path.integral[:, 0], [1, 0], atol=1e-6)
    assert path.error < 1e-5
    assert path.settled


@pytest.mark.parametrize("width", [0.1, 0.02, 0.005])
@pytest.mark.parametrize("at", [0.13, 0.5, 0.777])
def test_a_sharp_fall_is_found_and_resolved(at: float, width: float) -> None:
    inputs, loss = fall(at, width)
    path = integrate(inputs, loss, flat)
    expected = np.array([loss(np.zeros(1))[0] - loss(np.ones(1))[0], 1])
    assert np.linalg.norm(path.integral[:, 0] - expected) < TOLERANCE * np.linalg.norm(expected)
    assert path.settled
    assert len(path.alphas) < 60
    middles, gaps = (path.alphas[1:] + path.alphas[:-1]) / 2, np.diff(path.alphas)
    assert gaps[np.abs(middles - at).argmin()] <= 2 * width
    assert gaps.max() >= 1 / 16


def test_the_loss_betrays_what_falls_between_the_first_nodes() -> None:
    inputs, loss = fall(0.5 + 1 / 16, 0.0005)  # at every first node the scores are 0 to float32
    assert np.abs(inputs(np.arange(9) / 8)).max() < 1e-30
    path = integrate(inputs, loss, np.zeros_like)
    assert path.integral[0, 0] == pytest.approx(20, rel=TOLERANCE)


def test_nodes_are_ascending_and_every_one_counts_once() -> None:
    alphas_asked: list[float] = []
    inputs, loss = fall(0.3, 0.01)

    def recording_inputs(alpha: np.ndarray) -> np.ndarray:
        alphas_asked.extend(alpha)
        return inputs(alpha)

    path = integrate(recording_inputs, loss, flat)
    assert sorted(alphas_asked) == path.alphas.tolist()
    assert len(set(alphas_asked)) == len(alphas_asked)
    assert (path.alphas[0], path.alphas[-1]) == (0, 1)


def test_noise_uses_the_nodes_up_and_says_so() -> None:
    draw = np.random.default_rng(0)
    path = integrate(lambda a: draw.normal(size=a.shape), lambda a: 1 - a, lambda a: draw.normal(size=a.shape))
    assert len(path.alphas) == NODE_CAP
    assert not path.settled
    assert path.error > TOLERANCE * path.norm


def test_rounding_is_no_error() -> None:
    """Scores of the size of the loss's rounding ask for no nodes; in bfloat16 more counts as rounding."""
    draw = np.random.default_rng(0)

    def noise(size: float) -> Curve:
        return lambda a: size * draw.normal(size=a.shape)

    assert len(integrate(noise(1e-7), noise(1e-7), noise(1e-7)).alphas) == 9
    bfloat16 = 2.0**-7
    inputs, loss = fall(0.5, 0.1)
    path = integrate(lambda a: inputs(a) + noise(0.02)(a), lambda a: loss(a) + noise(0.02)(a), flat, bfloat16)
    assert path.settled
    assert len(path.alphas) < 40


def test_scores_that_are_not_numbers_end_it() -> None:
    path = integrate(lambda a: a * np.nan, lambda a: a, flat)
    assert len(path.alphas) <= NODE_CAP
    assert not path.settled


def test_a_jump_of_the_loss_ends_without_a_judgement_that_it_is_good() -> None:
    """Halved again and again, an interval would at last have two ends of the same number."""

    def loss(alpha: np.ndarray) -> np.ndarray:
        return np.where(alpha < 1 / 3, 10.0, 0.0)

    path = AdaptiveQuadrature.of_slopes(EPSILON, 0.01)
    while len(path.next_alphas):
        path.add(np.ones((len(path.next_alphas), 1, 1)), loss(path.next_alphas))
    assert not path.settled
    assert np.diff(path.alphas).min() >= 2.0**-21
