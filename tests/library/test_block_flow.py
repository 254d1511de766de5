"""P2, sections 3 to 5: block kernels, rates, the flow, its reduction and its invariant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel, Solver, compose, decompose
from tests import oracles

C, M, N_NEURONS = 3, 4, 5
N = C * M
SIZES = (M,) * C
VALUES = (2.0, 1.0, 0.3)
KERNEL = BlockKernel(*VALUES)
SINGLE, CLASS, GLOBAL = 1.0, 1.0 + M * 0.7, 1.0 + M * 0.7 + N * 0.3
TS = jnp.array([0.0, 0.1, 0.5, 2.0, 6.0])
EXACT = dict(rtol=0, atol=1e-11)  # float64 on matrices of a dozen rows
SOLVER = dict(rtol=0, atol=1e-8)  # steps are controlled to 1e-10


def random_state(seed):
    k = jax.random.split(jax.random.key(seed), 3)
    return (
        jax.random.normal(k[0], (C, N_NEURONS)),
        jax.random.normal(k[1], (N_NEURONS, N)),
        0.3 * jax.random.normal(k[2], (C,)),
    )


def label_bases():
    """Q1, constant on classes, and Q2, zero sum on each class: (21)–(22), from their definition."""
    inside = np.asarray(block_ntk.within_basis(M))
    return np.kron(np.eye(C), np.ones((M, 1))) / M**0.5, np.kron(np.eye(C), inside)


def numpy(*arrays):
    return tuple(np.asarray(a) for a in arrays)


@pytest.fixture(scope="module")
def state():
    return random_state(0)


@pytest.fixture(scope="module")
def trajectory(state):
    return block_ntk.flow(*state, KERNEL, m=M, C=C, ts=TS)


@pytest.fixture(scope="module")
def residual(state):
    return block_ntk.residual(*state, SIZES)


# ---- Definition 3.1, Table 1 -----------------------------------------------------------


@pytest.mark.parametrize("m", [M, (2, 5, 3)])
def test_equation_5_matrix_and_products_match_the_entries_of_definition_3_1(m):
    sizes = (m,) * C if isinstance(m, int) else m
    K = np.array(oracles.block_matrix(*VALUES, sizes))
    A = np.random.default_rng(0).normal(size=(2, sum(sizes)))
    np.testing.assert_array_equal(KERNEL.matrix(m, C), K)
    np.testing.assert_allclose(KERNEL.times(jnp.asarray(A), m, C), A @ K, **EXACT)
    np.testing.assert_allclose(KERNEL.solve(jnp.asarray(A), m, C), A @ np.linalg.inv(K), **EXACT)


def test_equations_6_and_7_one_sample_moves_others_by_their_kernel_value(state, residual):
    # gradient step on sample 0 alone: keep only its residual
    lone = jnp.zeros_like(residual).at[:, 0].set(residual[:, 0])
    outputs = KERNEL.times(lone, M, C)
    features = KERNEL.pull(state[0], lone, SIZES)
    for move, own in ((outputs, residual[:, 0]), (features, state[0].T @ residual[:, 0])):
        for column, value in ((0, VALUES[0]), (1, VALUES[1]), (M, VALUES[2]), (N - 1, VALUES[2])):
            np.testing.assert_allclose(move[:, column], value * own, **EXACT)


def test_table_1_eigenvalues_eigenvectors_and_multiplicities():
    K = np.array(oracles.block_matrix(*VALUES, SIZES))
    single, class_, global_ = KERNEL.eigenvalues(M, C)
    expected = [single] * (N - C) + [class_] * (C - 1) + [global_]
    np.testing.assert_allclose(np.linalg.eigvalsh(K), np.sort(expected), **EXACT)
    vectors = np.asarray(KERNEL.eigenvectors(M, C))
    np.testing.assert_allclose(vectors @ K, np.array(expected)[:, None] * vectors, **EXACT)
    assert np.linalg.matrix_rank(vectors) == N
    # swapping two eigenvalues must not pass
    assert not np.allclose(vectors @ K, np.array(expected[::-1])[:, None] * vectors)


# ---- (8)–(18) --------------------------------------------------------------------------

RATE = 0.02


@pytest.fixture(scope="module")
def descent(residual):
    return block_ntk.gradient_descent(residual, KERNEL, rate=RATE, steps=37, m=M, C=C)


def test_equations_8_and_9_a_descent_step_sums_over_all_samples(residual, descent):
    r, K = np.asarray(residual), oracles.block_matrix(*VALUES, SIZES)
    stepped = np.array(
        [
            [r[k, i] - RATE * sum(K[i][j] * r[k, j] for j in range(N)) for i in range(N)]
            for k in range(C)
        ]
    )
    np.testing.assert_allclose(descent[1], stepped, **EXACT)


def test_equation_10_each_eigenvector_contracts_by_its_own_factor(descent):
    vectors = KERNEL.eigenvectors(M, C)
    factors = np.repeat([1 - RATE * v for v in (SINGLE, CLASS, GLOBAL)], [N - C, C - 1, 1])
    before, after = (descent[t] @ vectors.T for t in (5, 6))
    np.testing.assert_allclose(after, factors[None] * before, **EXACT)


def test_equation_11_projection_on_ones_is_the_global_mean(residual):
    one = KERNEL.eigenvectors(M, C)[-1]
    np.testing.assert_allclose(residual @ one, N * residual.mean(axis=1), **EXACT)


def test_equation_12_projections_are_class_and_sample_deviations(residual):
    vectors, r = KERNEL.eigenvectors(M, C), np.asarray(residual)
    means = r.reshape(C, C, M).mean(axis=2)
    np.testing.assert_allclose(r @ vectors[N - C], N * (means[:, 0] - r.mean(axis=1)), **EXACT)
    np.testing.assert_allclose(r @ vectors[0], M * (r[:, 0] - means[:, 0]), **EXACT)


@pytest.mark.parametrize(
    ("part", "which"), [("global_", 0), ("class_", 1), ("sample", 2)], ids=["13", "14", "15"]
)
def test_equations_13_to_15_three_rates_over_37_descent_steps(descent, part, which):
    parts = getattr(block_ntk.residual_parts(descent, m=M, C=C), part)
    factors = block_ntk.contraction_factors(KERNEL, rate=RATE, m=M, C=C)
    predicted = parts[:1] * factors[which] ** jnp.arange(38)[:, None, None]
    np.testing.assert_allclose(parts, predicted, **EXACT)
    wrong = parts[:1] * factors[(which + 1) % 3] ** jnp.arange(38)[:, None, None]
    assert float(jnp.max(jnp.abs(parts - wrong))) > 1e-2


def test_equations_16_to_18_residual_and_its_two_averages(state, residual):
    W, H, b = numpy(*state)
    Y = np.kron(np.eye(C), np.ones((1, M)))
    R = W @ H + np.outer(b, np.ones(N)) - Y
    np.testing.assert_allclose(residual, R, **EXACT)
    parts = block_ntk.residual_parts(residual, m=M, C=C)
    np.testing.assert_allclose(parts.global_, R @ np.ones((N, N)) / N, **EXACT)
    np.testing.assert_allclose(parts.class_ + parts.global_, R @ Y.T @ Y / M, **EXACT)
    np.testing.assert_allclose(parts.sample + parts.class_ + parts.global_, R, **EXACT)


# ---- Theorem 4.1 -----------------------------------------------------------------------


def test_equation_19_matches_the_element_wise_definition(state):
    expected = oracles.flow_velocity(*numpy(*state), oracles.block_matrix(*VALUES, SIZES), SIZES)
    for got, want in zip(block_ntk.velocity(state, KERNEL, SIZES), expected, strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


def test_equation_19_as_printed_with_class_and_global_residuals(state, residual):
    W, H, _ = state
    d, w, a = VALUES
    parts = block_ntk.residual_parts(residual, m=M, C=C)
    mixed = (d - w) * residual + (w - a) * M * (parts.class_ + parts.global_)
    mixed += a * N * parts.global_
    dW, dH, db = block_ntk.velocity(state, KERNEL, SIZES)
    np.testing.assert_allclose(dH, -W.T @ mixed, **EXACT)
    np.testing.assert_allclose(dW, -residual @ H.T, **EXACT)
    np.testing.assert_allclose(db, -parts.global_ @ jnp.ones(N), **EXACT)


def test_equation_19_flow_matches_fixed_step_runge_kutta(state, trajectory):
    K = np.array(oracles.block_matrix(*VALUES, SIZES))
    Y = np.kron(np.eye(C), np.ones((1, M)))

    def field(y):
        W, H, b = y
        R = W @ H + b[:, None] - Y
        return -R @ H.T, -W.T @ R @ K, -R.sum(axis=1)

    W, H, b = oracles.rk4(field, numpy(*state), 0.5, 4000)
    np.testing.assert_allclose(trajectory.W[2], W, **SOLVER)
    np.testing.assert_allclose(trajectory.H[2], H, **SOLVER)
    np.testing.assert_allclose(trajectory.b[2], b, **SOLVER)


def collapsed_residual_state():
    """A state with R_class = 0 (so R_global = 0): W H1 + b 1ᵀ = I, within-class part free."""
    W, H, b = random_state(1)
    _, H2 = decompose(H, m=M, C=C)
    H1 = jnp.linalg.pinv(W) @ (jnp.eye(C) - b[:, None])
    return W, compose(H1, H2, m=M), b


def test_equation_20_at_the_end_of_training_features_follow_their_own_gradient():
    state = collapsed_residual_state()

    def loss(W, H, b):
        return 0.5 * jnp.sum(block_ntk.residual(W, H, b, SIZES) ** 2)

    gW, gH, _ = jax.grad(loss, argnums=(0, 1, 2))(*state)
    dW, dH, db = block_ntk.velocity(state, KERNEL, SIZES)
    np.testing.assert_allclose(dH, -SINGLE * gH, **EXACT)
    np.testing.assert_allclose(dW, -gW, **EXACT)
    np.testing.assert_allclose(db, 0, **EXACT)
    generic = random_state(1)
    gH = jax.grad(loss, argnums=1)(*generic)
    assert not np.allclose(block_ntk.velocity(generic, KERNEL, SIZES)[1], -SINGLE * gH)


def test_equations_31_to_35_chain_rule_through_a_model_whose_kernel_is_known():
    # h_k(x_i) = <w_k, phi_i> has Theta^h_ks = delta_ks <phi_i, phi_j>: choose that Gram matrix.
    phi = jnp.linalg.cholesky(KERNEL.matrix(M, C)).T
    W, H, b = random_state(2)
    weights = jnp.linalg.solve(phi.T, H.T).T

    def loss(weights):
        return 0.5 * jnp.sum(block_ntk.residual(W, weights @ phi, b, SIZES) ** 2)

    dH = -jax.grad(loss)(weights) @ phi
    np.testing.assert_allclose(block_ntk.velocity((W, H, b), KERNEL, SIZES)[1], dH, **EXACT)


# ---- Theorem 5.1 -----------------------------------------------------------------------


def test_equation_21_the_bases_are_a_singular_value_decomposition_of_the_labels():
    Q1, Q2 = label_bases()
    Q = np.hstack([Q1, Q2])
    np.testing.assert_allclose(Q.T @ Q, np.eye(N), **EXACT)
    Y = np.kron(np.eye(C), np.ones((1, M)))
    np.testing.assert_allclose(M**0.5 * np.eye(C) @ Q1.T, Y, **EXACT)
    np.testing.assert_allclose(Y @ Q2, 0, **EXACT)


def test_equation_22_the_decomposition_is_the_product_with_kronecker_products(state):
    Q1, Q2 = label_bases()
    basis = np.asarray(block_ntk.within_basis(M))
    np.testing.assert_allclose(basis.sum(axis=0), 0, **EXACT)
    H1, H2 = decompose(state[1], m=M, C=C)
    np.testing.assert_allclose(H1, state[1] @ Q1 / M**0.5, **EXACT)
    np.testing.assert_allclose(H2, state[1] @ Q2 / M**0.5, **EXACT)
    assert not np.allclose(H2, state[1] @ np.roll(Q2, 1, axis=0) / M**0.5)


@pytest.mark.parametrize("m", [M, (1, 6, 5)])
def test_equation_23_decomposition_and_its_inverse(state, m):
    H = state[1]
    H1, H2 = decompose(H, m=m, C=C)
    np.testing.assert_allclose(compose(H1, H2, m=m), H, **EXACT)
    if isinstance(m, int):
        Q1, Q2 = label_bases()
        np.testing.assert_allclose(m**0.5 * (H1 @ Q1.T + H2 @ Q2.T), H, **EXACT)


@pytest.mark.parametrize("m", [M, (1, 6, 5)])
def test_equation_24_class_means_and_class_covariances(state, m):
    H, sizes = np.asarray(state[1]), (m,) * C if isinstance(m, int) else m
    H1, H2 = numpy(*decompose(state[1], m=m, C=C))
    for c, (s, h) in enumerate(zip(sizes, np.split(H, np.cumsum(sizes)[:-1], axis=1), strict=True)):
        np.testing.assert_allclose(H1[:, c], h.mean(axis=1), **EXACT)
        part = np.split(H2, np.cumsum([s - 1 for s in sizes])[:-1], axis=1)[c]
        np.testing.assert_allclose(part @ part.T, np.cov(h, bias=True) if s > 1 else 0, **EXACT)


def test_equation_25_reduced_velocity_is_the_decomposed_full_velocity(state):
    W, H, b = state
    reduced = block_ntk.reduced_velocity((W, *decompose(H, m=M, C=C), b), KERNEL, SIZES)
    dW, dH, db = block_ntk.velocity(state, KERNEL, SIZES)
    for got, want in zip(reduced, (dW, *decompose(dH, m=M, C=C), db), strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


def test_equation_25_as_printed(state):
    W, H, b = state
    H1, H2 = decompose(H, m=M, C=C)
    R1 = W @ H1 + b[:, None] - jnp.eye(C)
    printed = (
        -M * (R1 @ H1.T + W @ H2 @ H2.T),
        -W.T @ R1 @ (CLASS * jnp.eye(C) + VALUES[2] * M),
        -SINGLE * W.T @ W @ H2,
        -M * R1.sum(axis=1),
    )
    got = block_ntk.reduced_velocity((W, H1, H2, b), KERNEL, SIZES)
    for a, e in zip(got, printed, strict=True):
        np.testing.assert_allclose(a, e, **EXACT)


def test_full_and_reduced_flow_agree_to_1e_8(state, trajectory):
    W, H, b = state
    reduced = block_ntk.reduced_flow(W, *decompose(H, m=M, C=C), b, KERNEL, m=M, C=C, ts=TS)
    H1, H2 = jax.vmap(lambda H: decompose(H, m=M, C=C))(trajectory.H)
    for got, want in (
        (reduced.W, trajectory.W),
        (reduced.H1, H1),
        (reduced.H2, H2),
        (reduced.b, trajectory.b),
        (reduced.residual, trajectory.residual),
    ):
        np.testing.assert_allclose(got, want, **SOLVER)


def test_equation_26_is_the_quantity_with_the_inverse_kernel(state):
    W, H, _ = numpy(*state)
    E = block_ntk.invariant(*state[:2], KERNEL, m=M, C=C)
    np.testing.assert_allclose(E, oracles.invariant_of_26(W, H, VALUES, M, C), **EXACT)
    # the released code's form, which is m E
    mean = H.mean(axis=1)
    H1 = np.stack([H[:, c * M : (c + 1) * M].mean(axis=1) for c in range(C)], axis=1)
    whole = H @ np.asarray(label_bases()[1])
    alpha = VALUES[2] / (SINGLE / M + VALUES[1] + (C - 1) * VALUES[2])
    code = W.T @ W - M / CLASS * H1 @ H1.T - whole @ whole.T / SINGLE
    code += alpha * C**2 * M / CLASS * np.outer(mean, mean)
    np.testing.assert_allclose(code, M * E, **EXACT)


def drift(trajectory, kernel):
    E = jax.vmap(lambda W, H: block_ntk.invariant(W, H, kernel, m=M, C=C))
    values = E(trajectory.W, trajectory.H)
    return float(jnp.max(jnp.abs(values - values[:1])))


def test_equation_26_is_conserved_to_solver_tolerance_and_a_wrong_kernel_is_not(trajectory):
    assert drift(trajectory, KERNEL) < 1e-9
    assert drift(trajectory, BlockKernel(2.2, 1.0, 0.3)) > 1e-2
    assert drift(trajectory, BlockKernel(2.0, 1.0, 0.0)) > 1e-2


def test_equation_27_is_conserved_once_the_class_residuals_are_gone_and_not_before():
    def final(W, H):
        return W.T @ W - H @ H.T / SINGLE

    def derivative(state):
        dW, dH, _ = block_ntk.velocity(state, KERNEL, SIZES)
        return jnp.max(jnp.abs(jax.jvp(final, state[:2], (dW, dH))[1]))

    assert float(derivative(collapsed_residual_state())) < 1e-10
    assert float(derivative(random_state(1))) > 1e-1
    # (27) in terms of H1 and H2
    W, H, _ = random_state(1)
    H1, H2 = decompose(H, m=M, C=C)
    np.testing.assert_allclose(
        final(W, H) / M,
        W.T @ W / M - (H1 @ H1.T + H2 @ H2.T) / SINGLE,
        **EXACT,
    )


def test_equations_36_to_43_steps_of_the_reduction(state, residual):
    W, H, b = state
    Q1, Q2 = label_bases()
    H1, H2 = decompose(H, m=M, C=C)
    R1 = W @ H1 + b[:, None] - jnp.eye(C)
    Y = jnp.kron(jnp.eye(C), jnp.ones((1, M)))
    parts = block_ntk.residual_parts(residual, m=M, C=C)
    dW, dH, _ = block_ntk.velocity(state, KERNEL, SIZES)
    # (36)–(38): R on both bases; (39): eigenvalues; (40): each part sees its own
    np.testing.assert_allclose(residual @ Q1, M**0.5 * R1, **EXACT)
    np.testing.assert_allclose(residual @ Q2, M**0.5 * W @ H2, **EXACT)
    np.testing.assert_allclose(parts.class_ + parts.global_, R1 @ Y, **EXACT)
    np.testing.assert_allclose(KERNEL.eigenvalues(M, C)[:2], (SINGLE, CLASS), **EXACT)
    np.testing.assert_allclose(dH @ Q2, -SINGLE * W.T @ residual @ Q2, **EXACT)
    # (41)–(42): the velocity of W in the two parts
    np.testing.assert_allclose(dW, -M * (R1 @ H1.T + W @ H2 @ H2.T), **EXACT)
    # (43): what W'W and the features exchange
    half = W.T @ R1 @ H1.T + W.T @ W @ H2 @ H2.T
    np.testing.assert_allclose((dW.T @ W + W.T @ dW) / M, -(half + half.T), **EXACT)


def test_equations_44_and_45_at_the_end_of_training_only_the_within_class_part_moves():
    state = collapsed_residual_state()
    W = state[0]
    dW, dH, _ = block_ntk.velocity(state, KERNEL, SIZES)
    (_, H2), (dH1, dH2) = decompose(state[1], m=M, C=C), decompose(dH, m=M, C=C)
    np.testing.assert_allclose(dH1, 0, **EXACT)
    np.testing.assert_allclose(dW, -M * W @ H2 @ H2.T, **EXACT)
    moved = (dW.T @ W + W.T @ dW) / M - (dH2 @ H2.T + H2 @ dH2.T) / SINGLE
    np.testing.assert_allclose(moved, 0, **EXACT)


# ---- many states, reports, bad input ---------------------------------------------------


def test_many_flows_at_once_equal_a_loop(trajectory):
    states = [random_state(s) for s in (0, 3)]
    together = block_ntk.many_flows(
        *(jnp.stack(parts) for parts in zip(*states, strict=True)), KERNEL, m=M, C=C, ts=TS
    )
    alone = block_ntk.flow(*states[1], KERNEL, m=M, C=C, ts=TS)
    np.testing.assert_allclose(together.H[0], trajectory.H, **SOLVER)
    np.testing.assert_allclose(together.H[1], alone.H, **SOLVER)
    assert together.completed.shape == (2,)
    assert together.message == "reached t = 6"


def test_trajectory_reports_residual_speed_and_convergence(trajectory):
    final = tuple(a[-1] for a in (trajectory.W, trajectory.H, trajectory.b))
    R = block_ntk.residual(*final, SIZES)
    np.testing.assert_allclose(trajectory.residual[-1], jnp.linalg.norm(R), **EXACT)
    speed = jnp.sqrt(sum(jnp.sum(v**2) for v in block_ntk.velocity(final, KERNEL, SIZES)))
    np.testing.assert_allclose(trajectory.speed[-1], speed, **EXACT)
    assert bool(trajectory.completed)
    assert bool(trajectory.converged(2 * float(speed)))
    assert not bool(trajectory.converged(0.5 * float(speed)))
    assert np.all(np.diff(trajectory.residual) < 0)


def test_a_flow_that_cannot_finish_is_reported_and_not_passed_off_as_one(state):
    stuck = block_ntk.flow(*state, KERNEL, m=M, C=C, ts=TS, solver=Solver(max_steps=30))
    assert not bool(stuck.completed)
    assert not bool(stuck.converged(jnp.inf))
    assert "stopped or blown up after t = 0, 30 steps" in stuck.message
    assert not bool(jnp.any(jnp.isfinite(stuck.residual[-1:])))


@pytest.mark.parametrize(
    "values", [(1.0, 2.0, 0.3), (2.0, 0.3, 1.0), (2.0, 1.0, -0.1), (np.nan, 1.0, 0.3)]
)
def test_block_kernel_refuses_values_out_of_order_or_negative(values):
    with pytest.raises(ValueError, match="diag >= within >= across >= 0"):
        BlockKernel(*values)


def test_an_uninvertible_kernel_has_no_invariant(state):
    with pytest.raises(ValueError, match="must be positive to invert"):
        block_ntk.invariant(*state[:2], BlockKernel(1.0, 1.0, 0.3), m=M, C=C)


def test_bad_states_and_times_are_refused(state):
    W, H, b = state
    run = lambda W=W, H=H, b=b, m=M, ts=TS: block_ntk.flow(  # noqa: E731
        W, H, b, KERNEL, m=m, C=C, ts=ts
    )
    with pytest.raises(ValueError, match="H has 11 columns, but m = 4 and C = 3 ask for 12"):
        run(H=H[:, :-1])
    with pytest.raises(ValueError, match=r"m = \(4, 4\)"):
        run(m=(4, 4))
    with pytest.raises(ValueError, match="m = 0"):
        run(m=0)
    with pytest.raises(ValueError, match=r"times must increase; 1.0 follows 2.0"):
        run(ts=jnp.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="at least two finite times"):
        run(ts=jnp.array([0.0]))
    with pytest.raises(ValueError, match="H has 1 entries that are not finite"):
        run(H=H.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="overflows"):
        run(H=1e200 * H)
    with pytest.raises(ValueError, match="H1 and H2 must have"):
        block_ntk.reduced_flow(W, H[:, :C], H[:, C:-1], b, KERNEL, m=M, C=C, ts=TS)
    with pytest.raises(ValueError, match="equally many"):
        block_ntk.many_flows(W[None], jnp.stack([H, H]), b[None], KERNEL, m=M, C=C, ts=TS)
    with pytest.raises(ValueError, match="ask for 12"):
        decompose(H[:, 1:], m=M, C=C)


def test_labels_must_come_sorted():
    assert block_ntk.sorted_class_sizes(jnp.array([0, 0, 1, 2, 2, 2]), C=3) == (2, 1, 3)
    with pytest.raises(ValueError, match="label 0 follows 1 at position 3"):
        block_ntk.sorted_class_sizes(jnp.array([0, 0, 1, 0, 2, 2]), C=3)
    with pytest.raises(ValueError, match="no members in class 1"):
        block_ntk.sorted_class_sizes(jnp.array([0, 0, 2]), C=3)
