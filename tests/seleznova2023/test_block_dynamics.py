"""The page on the flow: slow velocities, conserved numbers, relaxed kernels, departures."""

import jax.numpy as jnp
import numpy as np
import pytest

from ncutils.block_ntk import GeneralBlockKernel
from ncutils.experiments.seleznova2023 import _flows, block_dynamics
from tests import oracles

C, M, N_NEURONS = 2, 3, 4


@pytest.fixture(scope="module")
def state():
    W, H, b = _flows.random_states([0], C=C, n=N_NEURONS, N=C * M)
    return W[0], H[0], b[0]


def test_slow_velocities_are_the_oracles(state):
    arrays = tuple(np.asarray(a) for a in state)
    K = np.array(oracles.block_matrix(2.0, 1.0, 0.3, (M,) * C))
    expected = oracles.flow_velocity(*arrays, K, (M,) * C)
    found = _flows.element_velocity(*arrays, K, (M,) * C)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    matrices = [v * np.eye(N_NEURONS) for v in (2.0, 1.0, 0.3)]
    wide = _flows.general_matrix(*matrices, (M,) * C)
    for got, want in zip(_flows.element_velocity(*arrays, wide, (M,) * C), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    wide[0, 1, 0, 0] += 1.0  # neurons 0 and 1 interact
    other = _flows.element_velocity(*arrays, wide, (M,) * C)[1]
    assert np.max(np.abs(other - expected[1])) > 1e-3


def test_conserved_forms_are_counted_by_what_commutes():
    eye = jnp.eye(2)
    shared = GeneralBlockKernel(2 * eye, eye, 0.3 * eye)
    apart = block_dynamics.kernel_of("one kernel per neuron", 2, (2.0, 1.0, 0.3), 0)
    counts = [block_dynamics.conserved_count(k, C=2, m=2, n=2, seed=0) for k in (shared, apart)]
    assert counts == [3, 2]


def test_a_relaxed_kernel_is_three_numbers_on_the_rows_of_w_and_not_beside_them(state):
    W = state[0]
    relaxed = block_dynamics.relaxed_kernel(W, (2.0, 1.0, 0.3), 1)
    np.testing.assert_allclose((relaxed.diag - relaxed.within) @ W.T, W.T, atol=1e-12)
    np.testing.assert_allclose((relaxed.within - relaxed.across) @ W.T, 0.7 * W.T, atol=1e-12)
    beside = jnp.linalg.svd(W)[2][-1]
    assert float(jnp.linalg.norm((relaxed.diag - relaxed.within) @ beside - beside)) > 0.05


def test_departure_is_relative_and_cosine_is_between_different_rows():
    E = np.stack([np.eye(2), np.eye(2), 3 * np.eye(2)])[None]
    np.testing.assert_allclose(_flows.departures(jnp.asarray(E)), [[0, 0, 2]])
    simplex = jnp.eye(3) - 1 / 3
    assert block_dynamics._cosine(simplex) == pytest.approx(-0.5)
    assert block_dynamics._cosine(jnp.eye(3)) == pytest.approx(0.0)
