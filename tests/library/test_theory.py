"""Propositions A.1 and B.1 and Theorem 5.4 of P3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils.deep_rfm import theory
from tests import oracles

C, N_PER, RIDGE = 3, 4, 0.7
SIZE = C * N_PER
Y = np.kron(np.eye(C), np.ones((1, N_PER)))
BEST = Y.T @ Y
ANGLES = np.array([0.0, 1e-3, 0.3, 1.0, np.pi / 2, 2.5, np.pi])


@pytest.mark.parametrize("angle", ANGLES)
def test_relu_moments_are_those_of_the_integral(angle):
    at = jnp.array([angle])
    mean = 2 * oracles.relu_moment(angle, 1)
    assert theory.relu_inner_product(at)[0] == pytest.approx(mean, abs=1e-9)
    variance = 4 * oracles.relu_moment(angle, 2) - mean**2
    assert theory.relu_variance(at)[0] == pytest.approx(variance, abs=1e-8)
    if 0 < angle < np.pi:
        assert abs(mean - np.cos(angle)) > 1e-11  # a linear layer would keep the cosine
        assert abs(variance - (1 + np.cos(angle) ** 2)) > 0.1  # its variance, times D


def test_squared_distances_shrink_by_a_ratio_that_falls_from_one_to_a_half():
    fine = jnp.linspace(0, np.pi, 400)
    ratio = np.asarray(theory.relu_distance_ratio(fine))
    assert (np.diff(ratio) < 0).all()
    assert (ratio[0], ratio[-1]) == pytest.approx((1.0, 0.5))
    apart = fine[20:]
    by_hand = (1 - theory.relu_inner_product(apart)) / (1 - jnp.cos(apart))
    np.testing.assert_allclose(ratio[20:], by_hand, rtol=1e-10)
    # the small-angle law 1 - 2θ/(3π), where the quotient has lost its digits
    tiny = jnp.array([1e-4])
    assert theory.relu_distance_ratio(tiny)[0] == pytest.approx(1 - 2e-4 / (3 * np.pi), abs=1e-9)
    after = (1 - theory.relu_inner_product(fine))[1:]
    assert (np.asarray(after) <= np.asarray(1 - jnp.cos(fine))[1:]).all()


def feasible(seed, *, negative=False):
    draw = np.random.default_rng(seed).normal(size=(SIZE, 5))
    draw = draw if negative else np.abs(draw)
    draw /= np.linalg.norm(draw, axis=1, keepdims=True)
    return draw @ draw.T


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_eliminating_the_coefficients_is_minimising_over_them(seed):
    k = feasible(seed)
    best = Y @ np.linalg.inv(k + RIDGE * np.eye(SIZE))
    value = float(theory.relaxed_objective(jnp.asarray(k), jnp.asarray(Y), ridge=RIDGE))
    assert value == pytest.approx(oracles.relaxed_problem(k, Y, best, RIDGE), rel=1e-11)
    other = best + 0.1 * np.random.default_rng(seed).normal(size=best.shape)
    assert oracles.relaxed_problem(k, Y, other, RIDGE) > value + 1e-3


def test_the_label_kernel_is_the_minimum_also_among_kernels_with_negative_entries():
    objective = jax.jit(lambda k: theory.relaxed_objective(k, jnp.asarray(Y), ridge=RIDGE))
    least = theory.relaxed_minimum(num_classes=C, per_class=N_PER, ridge=RIDGE)
    assert least == pytest.approx(SIZE * RIDGE / (N_PER + RIDGE))
    assert objective(BEST) == pytest.approx(least, rel=1e-12)
    frame = np.kron(1.5 * np.eye(C) - 0.5, np.ones((N_PER, N_PER)))  # the simplex
    others = [np.eye(SIZE), frame, np.ones((SIZE, SIZE))]
    others += [feasible(seed, negative=seed % 2 == 1) for seed in range(20)]
    assert min(float(objective(k)) for k in others) > 1.05 * least
    # with two for the diagonal the constraint is broken, and the value falls below
    assert objective(2 * BEST) < 0.9 * least


def test_the_objective_is_convex_in_the_kernel():
    objective = jax.jit(lambda k: theory.relaxed_objective(k, jnp.asarray(Y), ridge=RIDGE))
    for seed in range(5):
        one, two = feasible(seed), feasible(100 + seed)
        middle = float(objective(0.5 * (one + two)))
        assert middle < 0.5 * float(objective(one) + objective(two)) - 1e-6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_metric_realises_the_distances_of_any_points(seed):
    rng = np.random.default_rng(seed)
    X, R = rng.normal(size=(SIZE, 20)), rng.normal(size=(SIZE, 2))
    M = np.asarray(theory.realising_metric(jnp.asarray(X), jnp.asarray(R)))
    assert np.linalg.eigvalsh(M)[0] > -1e-10
    assert np.linalg.matrix_rank(M) == 2
    for i in range(SIZE):
        for j in range(SIZE):
            gap = X[i] - X[j]
            assert gap @ M @ gap == pytest.approx(np.sum((R[i] - R[j]) ** 2), abs=1e-9)
    shifted = M + 0.01 * np.eye(20)
    gap = X[0] - X[1]
    assert abs(gap @ shifted @ gap - np.sum((R[0] - R[1]) ** 2)) > 1e-3


@pytest.mark.usefixtures("as_a_user")
def test_bad_arguments_are_refused_with_what_was_found():
    with pytest.raises(ValueError, match="angles lie in"):
        theory.relu_inner_product(jnp.array([-0.1, 1.0]))
    with pytest.raises(ValueError, match="labels of 12 samples"):
        theory.relaxed_objective(jnp.eye(3), jnp.asarray(Y), ridge=1.0)
    for call in (
        lambda: theory.relaxed_objective(jnp.eye(SIZE), jnp.asarray(Y), ridge=0.0),
        lambda: theory.relaxed_minimum(num_classes=2, per_class=3, ridge=-1.0),
    ):
        with pytest.raises(ValueError, match="ridge μ must be positive"):
            call()
    twice = jnp.ones((2, 5))
    with pytest.raises(ValueError, match="2 samples of rank 1 are dependent"):
        theory.realising_metric(twice, jnp.eye(2))
    with pytest.raises(ValueError, match="2 samples, but 3 points"):
        theory.realising_metric(twice, jnp.eye(3))
