"""The page beyond balance: kinds of kernel, balance of single neurons, scatter, noise."""

import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel
from ncutils.experiments.seleznova2023 import _flows, beyond_balance

C, M, N_NEURONS = 2, 3, 4
PLAIN = BlockKernel(2.0, 1.0, 0.3)


@pytest.fixture(scope="module")
def state():
    W, H, b = _flows.random_states([0], C=C, n=N_NEURONS, N=C * M)
    return W[0], H[0], b[0]


def test_balanced_neurons_have_zero_numbers_of_their_own(state):
    kernels = [BlockKernel(2.0 + k, 1.0, 0.3) for k in range(N_NEURONS)]
    start = block_ntk.State(*state)
    found = beyond_balance._balance_neurons(start, kernels, M, C)
    for k, kernel in enumerate(kernels):
        E = [block_ntk.invariant(s.W, s.H, kernel, m=M, C=C)[k, k] for s in (found, start)]
        assert abs(float(E[0])) < 1e-12
        assert abs(float(E[1])) > 1e-3


@pytest.mark.parametrize("kind", beyond_balance.KINDS)
def test_kinds_of_kernel_are_kernels_and_survive_becoming_matrices(kind):
    sizes = (1, 2, 3)
    kernel = beyond_balance.kernel_of(kind, sizes, (2.0, 1.0, 0.3))
    dense = beyond_balance.as_dense(kernel, sizes)
    assert np.linalg.eigvalsh(dense.values)[0] > 0
    A = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6)))
    np.testing.assert_allclose(kernel.times(A, sizes, 3), dense.times(A, sizes, 3), atol=1e-12)


def test_scatter_is_the_sum_of_squared_deviations_by_class():
    H = np.random.default_rng(0).normal(size=(1, 1, 4, 6))

    one = jnp.zeros((1, 1))
    path = block_ntk.Trajectory(
        ts=one, residual=one, speed=one, steps=jnp.zeros(1, int), completed=jnp.ones(1, bool),
        W=jnp.zeros((1, 1, 2, 4)), H=jnp.asarray(H), b=jnp.zeros((1, 1, 2)),
    )  # fmt: skip
    found = beyond_balance.scatters(path, (2, 4))
    by_hand = [
        ((p - p.mean(1, keepdims=True)) ** 2).sum() for p in (H[0, 0][:, :2], H[0, 0][:, 2:])
    ]
    np.testing.assert_allclose(found[0, 0], by_hand, rtol=1e-12)


def test_noise_that_leaves_no_kernel_is_refused_and_none_leaves_the_simplex():
    K = np.asarray(PLAIN.matrix(4, 3))
    with pytest.raises(ValueError, match="noisy kernel must be symmetric positive"):
        beyond_balance.noisy_mean_kernel(K, 4, 3, 2.0, 0)
    clean = beyond_balance.noisy_mean_kernel(K, 4, 3, 0.0, 0)
    np.testing.assert_allclose(clean, PLAIN.class_mean_kernel(4, 3), atol=1e-12)
    bent = beyond_balance.noisy_mean_kernel(K, 4, 3, 0.05, 0, blocks=True)
    found = beyond_balance.defects(np.stack([clean, bent]))
    assert float(found[0]) < 1e-7
    assert float(found[1]) > 1e-3
