"""Beyond Definition 3.1: Appendix D, unequal classes, specialisation, noise on the kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import block_ntk, metrics
from ncutils.block_ntk import (
    BlockKernel,
    DenseKernel,
    GeneralBlockKernel,
    SpecialisedKernel,
    decompose,
)
from tests import oracles

C, M, N_NEURONS = 3, 4, 5
N = C * M
EQUAL, UNEQUAL = (M,) * C, (2, 3, 7)
TS = jnp.array([0.0, 0.5, 5.0, 40.0, 60.0])
EXACT = dict(rtol=0, atol=1e-11)  # float64 on matrices of a dozen rows
SOLVER = dict(rtol=0, atol=1e-8)  # steps are controlled to 1e-10
LIMIT = dict(rtol=0, atol=1e-7)  # a flow run to its end with steps controlled to 1e-10
SPECIAL = SpecialisedKernel([2.0, 1.5, 3.0], [[1.0, 0.2, 0.3], [0.2, 0.8, 0.1], [0.3, 0.1, 1.4]])


def random_psd(seed, size=N_NEURONS):
    A = np.random.default_rng(seed).normal(size=(size, size))
    return A @ A.T / size


def random_state(seed=0):
    k = jax.random.split(jax.random.key(seed), 3)
    return (
        jax.random.normal(k[0], (C, N_NEURONS)),
        jax.random.normal(k[1], (N_NEURONS, N)),
        0.3 * jax.random.normal(k[2], (C,)),
    )


def stacked(seed=0):
    """K_d, K_c, K_n with the differences that make the whole kernel positive."""
    across = random_psd(seed)
    within = across + random_psd(seed + 1)
    return within + random_psd(seed + 2) + 0.2 * np.eye(N_NEURONS), within, across


GENERAL = GeneralBlockKernel(*stacked())


def rate_of(quantity, state, kernel, sizes):
    """Time derivative of quantity(W, H) along the flow."""
    dW, dH, _ = block_ntk.velocity(state, kernel, sizes)
    return jax.jvp(quantity, state[:2], (dW, dH))[1]


# ---- Appendix D ------------------------------------------------------------------------


def test_equations_71_and_72_general_blocks_match_the_element_wise_definition():
    state = random_state()
    kernel = oracles.block_matrix(*stacked(), EQUAL)
    expected = oracles.flow_velocity(*(np.asarray(a) for a in state), kernel, EQUAL)
    for got, want in zip(block_ntk.velocity(state, GENERAL, EQUAL), expected, strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


def test_equation_72_with_multiples_of_the_identity_is_equation_19():
    state, eye = random_state(), jnp.eye(N_NEURONS)
    scalar = GeneralBlockKernel(2 * eye, eye, 0.3 * eye)
    plain = block_ntk.velocity(state, BlockKernel(2.0, 1.0, 0.3), EQUAL)
    for got, want in zip(block_ntk.velocity(state, scalar, EQUAL), plain, strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


def test_equation_73_general_blocks_in_class_means_and_within_class_part():
    W, H, b = state = random_state()
    H1, H2 = decompose(H, m=M, C=C)
    dH1, dH2 = decompose(block_ntk.velocity(state, GENERAL, EQUAL)[1], m=M, C=C)
    K2, K1, _ = GENERAL.reduced(M, C)
    R1 = W @ H1 + b[:, None] - jnp.eye(C)
    ones = jnp.ones((C, C))
    expected = -K1 @ W.T @ R1 - M * GENERAL.across @ W.T @ R1 @ ones
    np.testing.assert_allclose(dH1, expected, **EXACT)
    np.testing.assert_allclose(dH2, -K2 @ W.T @ W @ H2, **EXACT)


def test_equations_74_to_76_the_flow_turns_with_the_features_if_the_kernel_does():
    W, H, b = random_state()
    Q = jnp.linalg.qr(jax.random.normal(jax.random.key(9), (N_NEURONS, N_NEURONS)))[0]
    turned = GeneralBlockKernel(*(Q @ K @ Q.T for K in stacked()))
    dH = block_ntk.velocity((W, H, b), GENERAL, EQUAL)[1]
    got = block_ntk.velocity((W @ Q.T, Q @ H, b), turned, EQUAL)[1]
    np.testing.assert_allclose(got, Q @ dH, **EXACT)
    still = block_ntk.velocity((W @ Q.T, Q @ H, b), GENERAL, EQUAL)[1]
    assert float(jnp.max(jnp.abs(still - Q @ dH))) > 0.1


@pytest.mark.parametrize("centred", [True, False])
def test_equations_77_and_78_how_the_naive_invariant_moves(centred):
    W, H, b = random_state()
    if centred:
        H, b = H - H.mean(axis=1, keepdims=True), jnp.full(C, 1 / C)
    c1, c2 = 0.7, 1.3

    def naive(W, H):
        H1, H2 = decompose(H, m=M, C=C)
        return W.T @ W / M - c1 * H1 @ H1.T - c2 * H2 @ H2.T

    got = block_ntk.naive_invariant_derivative(W, H, b, GENERAL, c1=c1, c2=c2, m=M, C=C)
    np.testing.assert_allclose(got, rate_of(naive, (W, H, b), GENERAL, EQUAL), **EXACT)
    assert float(jnp.max(jnp.abs(got))) > 0.1
    if centred:  # as printed, where R_1 1 = 0
        H1, H2 = decompose(H, m=M, C=C)
        K2, K1, _ = GENERAL.reduced(M, C)
        R1 = W @ H1 + b[:, None] - jnp.eye(C)
        eye = jnp.eye(N_NEURONS)
        half = (eye - c1 * K1) @ W.T @ R1 @ H1.T + (eye - c2 * K2) @ W.T @ W @ H2 @ H2.T
        np.testing.assert_allclose(got, -(half + half.T), **EXACT)


def test_a_relaxation_of_appendix_d_keeps_the_invariant_and_collapses():
    # K_d - K_c and K_c - K_n are scalars on a subspace that holds W and H, anything beside
    # it; K_n is arbitrary. With centred features the plain invariant is conserved.
    plain = BlockKernel(2.0, 1.0, 0.3)
    start = block_ntk.initial_state(plain, m=M, C=C, n=N_NEURONS, key=jax.random.key(1))
    inside = jnp.linalg.svd(start.W)[2][: C - 1]
    P = inside.T @ inside
    beside = (jnp.eye(N_NEURONS) - P) @ random_psd(3) @ (jnp.eye(N_NEURONS) - P)
    across = jnp.asarray(random_psd(4))
    within = across + 0.7 * P + beside
    relaxed = GeneralBlockKernel(within + P + 2 * beside, within, across)
    trajectory = block_ntk.flow(start.W, start.H, start.b, relaxed, m=M, C=C, ts=TS)
    same = block_ntk.flow(start.W, start.H, start.b, plain, m=M, C=C, ts=TS)
    np.testing.assert_allclose(trajectory.H, same.H, **SOLVER)
    E = block_ntk.invariant(trajectory.W[2], trajectory.H[2], plain, m=M, C=C)
    np.testing.assert_allclose(E, 0, atol=1e-9)
    y = jnp.repeat(jnp.arange(C), M)
    assert float(metrics.nc1(trajectory.H[-1].T, y, num_classes=C)) < 1e-14
    assert float(metrics.nc3(trajectory.H[-1].T, y, trajectory.W[-1], num_classes=C)) < 1e-8
    # the same matrices turned against W are no relaxation
    other = block_ntk.velocity((start.W, start.H, start.b), GENERAL, EQUAL)[1]
    mine = block_ntk.velocity((start.W, start.H, start.b), plain, EQUAL)[1]
    assert float(jnp.max(jnp.abs(other - mine))) > 1e-2


def test_general_kernels_refuse_matrices_that_are_no_kernel():
    diag, within, across = stacked()
    with pytest.raises(ValueError, match="K_d - K_c must be symmetric positive semi-definite"):
        GeneralBlockKernel(within, diag, across)
    with pytest.raises(ValueError, match="asymmetry"):
        GeneralBlockKernel(diag, within, np.triu(across))
    with pytest.raises(ValueError, match="lowest eigenvalue -1"):
        DenseKernel(-np.eye(3))
    with pytest.raises(ValueError, match="fall below"):
        SpecialisedKernel([0.5, 2.0], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="B must be symmetric positive"):
        SpecialisedKernel([5.0, 5.0], [[1.0, 3.0], [3.0, 1.0]])
    with pytest.raises(ValueError, match="values for 3 classes, not 4"):
        SPECIAL.class_values(4)
    with pytest.raises(ValueError, match="K_n must be"):
        block_ntk.neuron_kernel(jnp.ones(2), jnp.ones(2), jnp.array([0.3, -0.1]))


# ---- one conserved number for every Z that commutes with the kernel --------------------


def e(Z, kernel):
    return lambda W, H: block_ntk.commutant_invariant(W, H, kernel, Z, m=M, C=C)


def test_any_general_block_kernel_conserves_one_number():
    state, eye = random_state(), jnp.eye(N_NEURONS)
    assert abs(float(rate_of(e(eye, GENERAL), state, GENERAL, EQUAL))) < 1e-9
    other = GeneralBlockKernel(*stacked(7))
    assert abs(float(rate_of(e(eye, other), state, GENERAL, EQUAL))) > 1e-1
    with pytest.raises(ValueError, match="must commute with the kernel"):
        e(jnp.diag(jnp.arange(5.0)), GENERAL)(*state[:2])


def test_one_kernel_per_neuron_conserves_one_number_per_neuron_and_not_their_products():
    state = random_state()
    across = jnp.array([0.3, 0.3, 0.1, 0.2, 0.5])
    within = across + jnp.array([0.7, 0.7, 0.4, 0.9, 0.2])
    kernel = block_ntk.neuron_kernel(within + 1.0, within, across)
    for k in range(N_NEURONS):
        Z = jnp.zeros((N_NEURONS, N_NEURONS)).at[k, k].set(1.0)
        assert abs(float(rate_of(e(Z, kernel), state, kernel, EQUAL))) < 1e-9
    pair = jnp.zeros((N_NEURONS, N_NEURONS)).at[[0, 1], [1, 0]].set(1.0)
    # neurons 0 and 1 share their values, so their product is conserved as well …
    assert abs(float(rate_of(e(pair, kernel), state, kernel, EQUAL))) < 1e-9
    # … and 0 and 2 do not
    apart = jnp.zeros((N_NEURONS, N_NEURONS)).at[[0, 2], [2, 0]].set(1.0)
    with pytest.raises(ValueError, match="must commute"):
        e(apart, kernel)(*state[:2])


def test_with_three_numbers_the_conserved_numbers_are_the_entries_of_equation_26():
    plain, eye = BlockKernel(2.0, 1.0, 0.3), jnp.eye(N_NEURONS)
    kernel = GeneralBlockKernel(2 * eye, eye, 0.3 * eye)
    W, H, _ = random_state()
    E = block_ntk.invariant(W, H, plain, m=M, C=C)
    Z = jnp.asarray(random_psd(1))
    np.testing.assert_allclose(e(Z, kernel)(W, H), jnp.sum(Z * E), **EXACT)


# ---- unequal classes and values that differ by class -----------------------------------


def test_specialised_kernel_has_the_entries_and_products_of_its_definition():
    labels = oracles.class_of(UNEQUAL)
    between, diag = np.asarray(SPECIAL.between), np.asarray(SPECIAL.diag)
    K = np.array(
        [
            [diag[a] if i == j else between[a, b] for j, b in enumerate(labels)]
            for i, a in enumerate(labels)
        ]
    )
    A = np.random.default_rng(0).normal(size=(2, N))
    np.testing.assert_array_equal(SPECIAL.matrix(UNEQUAL, C), K)
    np.testing.assert_allclose(SPECIAL.times(jnp.asarray(A), UNEQUAL, C), A @ K, **EXACT)
    inverse = np.linalg.inv(K)
    np.testing.assert_allclose(SPECIAL.solve(jnp.asarray(A), UNEQUAL, C), A @ inverse, **EXACT)
    # the kernel of the class means: block averages, and also (S' K^-1 S)^-1
    S = np.eye(C)[labels]
    mean_kernel = SPECIAL.class_mean_kernel(UNEQUAL, C)
    averages = (S / S.sum(0)).T @ K @ (S / S.sum(0))
    np.testing.assert_allclose(mean_kernel, averages, **EXACT)
    np.testing.assert_allclose(mean_kernel, np.linalg.inv(S.T @ inverse @ S), **EXACT)
    np.testing.assert_allclose(DenseKernel(K).class_mean_kernel(UNEQUAL, C), mean_kernel, **EXACT)


def test_unequal_classes_full_and_reduced_flow_agree_to_1e_8_and_conserve_the_invariant():
    W, H, b = random_state()
    full = block_ntk.flow(W, H, b, SPECIAL, m=UNEQUAL, C=C, ts=TS)
    H1, H2 = decompose(H, m=UNEQUAL, C=C)
    reduced = block_ntk.reduced_flow(W, H1, H2, b, SPECIAL, m=UNEQUAL, C=C, ts=TS)
    np.testing.assert_allclose(reduced.W, full.W, **SOLVER)
    np.testing.assert_allclose(reduced.residual, full.residual, **SOLVER)
    ends = decompose(full.H[-1], m=UNEQUAL, C=C)
    np.testing.assert_allclose(reduced.H1[-1], ends[0], **SOLVER)
    np.testing.assert_allclose(reduced.H2[-1], ends[1], **SOLVER)

    def drift(kernel, m):
        E = [block_ntk.invariant(full.W[t], full.H[t], kernel, m=m, C=C) for t in (0, -1)]
        return float(jnp.max(jnp.abs(E[1] - E[0])))

    assert drift(SPECIAL, UNEQUAL) < 1e-9
    assert drift(SPECIAL, EQUAL) > 1e-2  # the balanced formula does not do
    assert drift(BlockKernel(2.0, 1.0, 0.2), UNEQUAL) > 1e-2


def balanced_end(kernel, m, key=0):
    start = block_ntk.initial_state(kernel, m=m, C=C, n=N_NEURONS, key=jax.random.key(key))
    trajectory = block_ntk.flow(start.W, start.H, start.b, kernel, m=m, C=C, ts=TS)
    assert bool(trajectory.converged(1e-7))
    return start, trajectory, trajectory.W[-1], trajectory.H[-1], trajectory.b[-1]


def test_unequal_classes_from_balance_nc1_holds_and_the_frames_are_those_of_the_mean_kernel():
    start, trajectory, W, H, b = balanced_end(SPECIAL, UNEQUAL)
    H1, H2 = decompose(H, m=UNEQUAL, C=C)
    np.testing.assert_allclose(H2, 0, **LIMIT)
    mean_kernel = SPECIAL.class_mean_kernel(UNEQUAL, C)
    np.testing.assert_allclose(W @ W.T, block_ntk.classifier_gram(b, mean_kernel), **LIMIT)
    np.testing.assert_allclose(H1.T @ H1, block_ntk.class_mean_gram(b, mean_kernel), **LIMIT)
    # it is no simplex frame, and centred features do not stay centred
    assert float(block_ntk.simplex_defect(b, mean_kernel)) > 1e-2
    assert float(jnp.linalg.norm(H.mean(axis=1))) > 1e-2
    # the bound on the scatter of each class holds on the way
    scatter = lambda H: jnp.sum(decompose(H, m=UNEQUAL, C=C)[1][:, 3:] ** 2) * UNEQUAL[2]  # noqa: E731
    path = jnp.stack([scatter(H) for H in trajectory.H])
    bound = block_ntk.within_class_bound(float(scatter(start.H)), TS, rank=N_NEURONS)
    assert bool(jnp.all(path <= bound * (1 + 1e-9)))


def test_imbalance_enters_the_frames_only_through_diagonal_excess_over_class_size():
    b = jnp.full(C, 1 / C)
    defect = lambda values, m: float(  # noqa: E731
        block_ntk.simplex_defect(b, BlockKernel(*values).class_mean_kernel(m, C))
    )
    assert defect((2.0, 1.0, 0.3), (40, 40, 40)) < 1e-9
    sizes = np.array([2, 3, 7])
    small = [defect((2.0, 1.0, 0.3), tuple(int(s) for s in k * sizes)) for k in (1, 10, 100)]
    assert small[0] > 5 * small[1] > 25 * small[2] > 0
    assert defect((1.0, 1.0 - 1e-9, 0.3), (2, 3, 7)) < 1e-8
    # without any within-class value the imbalance stays, however many the samples
    assert defect((1.0, 0.0, 0.0), (200, 300, 700)) == pytest.approx(
        defect((1.0, 0.0, 0.0), (2, 3, 7)), abs=1e-9
    )


# ---- noise on the kernel entries -------------------------------------------------------


def noisy(size, seed=0):
    K = np.asarray(BlockKernel(2.0, 1.0, 0.3).matrix(M, C))
    E = np.random.default_rng(seed).normal(size=(N, N))
    return DenseKernel(K + size * (E + E.T) / 2)


def test_a_noisy_kernel_has_the_same_kind_of_invariant_and_still_ends_in_nc1():
    kernel = noisy(0.1)
    start, trajectory, W, H, b = balanced_end(kernel, M)
    E = block_ntk.invariant(trajectory.W[2], trajectory.H[2], kernel, m=M, C=C)
    np.testing.assert_allclose(E, 0, atol=1e-9)
    H1, H2 = decompose(H, m=M, C=C)
    np.testing.assert_allclose(H2, 0, **LIMIT)
    mean_kernel = kernel.class_mean_kernel(M, C)
    np.testing.assert_allclose(W @ W.T, block_ntk.classifier_gram(b, mean_kernel), **LIMIT)
    np.testing.assert_allclose(H1.T @ H1, block_ntk.class_mean_gram(b, mean_kernel), **LIMIT)
    # the invariant of the kernel without noise is not conserved
    clean = BlockKernel(2.0, 1.0, 0.3)
    E = [block_ntk.invariant(W_, H_, clean, m=M, C=C) for W_, H_ in ((start.W, start.H), (W, H))]
    assert float(jnp.max(jnp.abs(E[1] - E[0]))) > 1e-4


def test_noise_moves_the_frames_in_proportion():
    b = jnp.full(C, 1 / C)
    defects = [
        float(block_ntk.simplex_defect(b, noisy(size).class_mean_kernel(M, C)))
        for size in (1e-3, 1e-2)
    ]
    assert defects[1] / defects[0] == pytest.approx(10, rel=0.05)


def test_a_kernel_that_changes_in_time_moves_the_invariant_by_its_own_rate():
    # E' m = H K^-1 K' K^-1 H', whatever the residual
    W, H, b = random_state()
    K, dK = noisy(0.1).values, jnp.asarray(random_psd(5, N))
    dW, dH, _ = block_ntk.velocity((W, H, b), DenseKernel(K), EQUAL)

    def E(W, H, K):
        return W.T @ W - H @ jnp.linalg.solve(K, H.T)

    rate = jax.jvp(E, (W, H, K), (dW, dH, dK))[1]
    side = jnp.linalg.solve(K, H.T)
    np.testing.assert_allclose(rate, side.T @ dK @ side, **EXACT)
