"""Experiments of the block-kernel pages: what they add to the library is right."""

import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel
from ncutils.experiments import catalogue
from ncutils.experiments.seleznova2023 import _flows, beyond_balance, block_flow, block_general, block_rates, frame_defect
from ncutils.block_ntk import GeneralBlockKernel
from tests import oracles

MODULES = (block_rates, block_flow, block_general, beyond_balance, frame_defect)
C, M, N_NEURONS = 2, 3, 4
PLAIN = BlockKernel(2.0, 1.0, 0.3)


def test_every_cell_has_a_configuration_at_every_scale_and_a_page():
    named = {name for page in catalogue.PAGES.values() for name in page}
    for module in MODULES:
        for cell in module.CELLS:
            assert f"{module.__name__.split('.')[-1]}/{cell}" in named
            seeds = [len(module.Config.at(cell, s).seeds) for s in ("smoke", "quick", "paper")]
            assert seeds == sorted(seeds)
        with pytest.raises(ValueError, match="unknown scale"):
            module.Config.at(module.CELLS[0], "huge")


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_cell_is_refused_with_the_known_ones(module):
    config = module.Config.at(module.CELLS[0], "smoke")
    object.__setattr__(config, "cell", "nonsense")
    with pytest.raises(ValueError, match=module.CELLS[0]):
        module.run(config)


def test_table_1_fits_a_block_kernel_and_not_one_with_a_favoured_class():
    K = np.array(oracles.block_matrix(2.0, 1.0, 0.3, (M,) * C))
    assert block_rates.table_error(K, PLAIN, M, C) < 1e-14
    K[0, 1] = K[1, 0] = 1.1
    assert block_rates.table_error(K, PLAIN, M, C) > 1e-3


def test_pull_of_a_linear_model_is_its_gram_matrix():
    # f(x) = A x has the kernel (x · x') I: nothing between outputs, pull = inner product
    class Linear(block_rates.models.Dense):
        pass

    X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)))
    A = Linear(weight=jnp.ones((2, 5)) * 0.1, bias=jnp.zeros(2))
    targets = jnp.repeat(jnp.eye(2), 3, axis=0)
    found = block_rates.elasticity_of(A, A, X, targets)
    gram = np.asarray(X @ X.T) + 1.0  # the bias adds a feature of ones
    np.testing.assert_allclose(found["traced"], gram, rtol=1e-12)
    same = np.kron(np.eye(2), np.ones((3, 3))) - np.eye(6)
    means = [np.diag(gram).mean(), (gram * same).sum() / same.sum(), gram[:3, 3:].mean()]
    np.testing.assert_allclose(found["values"], means, rtol=1e-12)
    np.testing.assert_allclose(found["pull"], means, rtol=1e-6)
    assert float(found["cross"]) < 1e-12
    assert abs(means[1] - means[2]) > 0.05


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
    apart = block_general.kernel_of("one kernel per neuron", 2, (2.0, 1.0, 0.3), 0)
    counts = [block_general.conserved_count(k, C=2, m=2, n=2, seed=0) for k in (shared, apart)]
    assert counts == [3, 2]


def test_a_relaxed_kernel_is_three_numbers_on_the_rows_of_w_and_not_beside_them(state):
    W = state[0]
    relaxed = block_general.relaxed_kernel(W, (2.0, 1.0, 0.3), 1)
    np.testing.assert_allclose((relaxed.diag - relaxed.within) @ W.T, W.T, atol=1e-12)
    np.testing.assert_allclose((relaxed.within - relaxed.across) @ W.T, 0.7 * W.T, atol=1e-12)
    beside = jnp.linalg.svd(W)[2][-1]
    assert float(jnp.linalg.norm((relaxed.diag - relaxed.within) @ beside - beside)) > 0.05


def test_balanced_neurons_have_zero_numbers_of_their_own(state):
    kernels = [BlockKernel(2.0 + k, 1.0, 0.3) for k in range(N_NEURONS)]
    start = beyond_balance.block_states.State(*state)
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
        frame_defect.noisy_mean_kernel(K, 4, 3, 2.0, 0)
    clean = frame_defect.noisy_mean_kernel(K, 4, 3, 0.0, 0)
    np.testing.assert_allclose(clean, PLAIN.class_mean_kernel(4, 3), atol=1e-12)
    bent = frame_defect.noisy_mean_kernel(K, 4, 3, 0.05, 0, blocks=True)
    found = frame_defect.defects(np.stack([clean, bent]))
    assert float(found[0]) < 1e-7
    assert float(found[1]) > 1e-3


def test_departure_is_relative_and_cosine_is_between_different_rows():
    E = np.stack([np.eye(2), np.eye(2), 3 * np.eye(2)])[None]
    np.testing.assert_allclose(_flows.departures(jnp.asarray(E)), [[0, 0, 2]])
    simplex = jnp.eye(3) - 1 / 3
    assert block_flow._cosine(simplex) == pytest.approx(-0.5)
    assert block_flow._cosine(jnp.eye(3)) == pytest.approx(0.0)
