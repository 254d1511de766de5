"""P2, section 5.3 and Appendix B.3–B.4: when the flow collapses, and where it ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import block_ntk, metrics
from ncutils.block_ntk import BlockKernel, compose, decompose

C, M, N_NEURONS = 3, 4, 5
N = C * M
SIZES = (M,) * C
KERNEL = BlockKernel(2.0, 1.0, 0.3)
SINGLE, CLASS = 1.0, 1.0 + M * 0.7
ALPHA = float(KERNEL.alpha(M, C))
MEAN_KERNEL = KERNEL.class_mean_kernel(M, C)
CENTRE = np.eye(C) - 1.0 / C
ONES = np.ones((C, C))
Y = jnp.repeat(jnp.arange(C), M)
TS = jnp.array([0.0, 0.5, 5.0, 40.0, 60.0])
EXACT = dict(rtol=0, atol=1e-11)  # float64 on matrices of a dozen rows
LIMIT = dict(rtol=0, atol=1e-7)  # a flow run to its end with steps controlled to 1e-10


def run(state, kernel=KERNEL):
    return block_ntk.flow(state.W, state.H, state.b, kernel, m=M, C=C, ts=TS)


def collapse(trajectory, t=-1):
    """NC1 to NC4 of one time, and the squared size of the within-class part."""
    W, H, b = trajectory.W[t], trajectory.H[t], trajectory.b[t]
    return dict(
        nc1=float(metrics.nc1(H.T, Y, num_classes=C)),
        nc2=float(metrics.nc2(H.T, Y, num_classes=C)),
        nc3=float(metrics.nc3(H.T, Y, W, num_classes=C)),
        nc4=float(metrics.nc4(H.T, Y, W, b, num_classes=C)),
        within=float(jnp.sum(decompose(H, m=M, C=C)[1] ** 2)),
    )


def end(trajectory):
    return (
        trajectory.W[-1],
        decompose(trajectory.H[-1], m=M, C=C)[0],
        trajectory.b[-1],
    )


@pytest.fixture(scope="module")
def balanced():
    """E = O with centred features."""
    return run(block_ntk.initial_state(KERNEL, m=M, C=C, n=N_NEURONS, key=jax.random.key(1)))


@pytest.fixture(scope="module")
def equal_bias():
    """E = O, collapsed, all biases equal, ending at β = 0.2 (and not at 1/C)."""
    return run(
        block_ntk.symmetric_state(
            KERNEL, m=M, C=C, n=N_NEURONS, final_bias=0.2, key=jax.random.key(2)
        )
    )


@pytest.fixture(scope="module")
def unequal_bias():
    """E = O with three different biases: the general case of B.4."""
    start = block_ntk.symmetric_state(
        KERNEL, m=M, C=C, n=N_NEURONS, final_bias=0.1, key=jax.random.key(2)
    )
    return run(block_ntk.State(W=start.W, H=start.H, b=jnp.array([0.2, 0.0, -0.3])))


# ---- initial states --------------------------------------------------------------------


def test_balanced_states_have_zero_invariant_and_centred_features(key):
    s = block_ntk.initial_state(KERNEL, m=M, C=C, n=N_NEURONS, key=key)
    np.testing.assert_allclose(block_ntk.invariant(s.W, s.H, KERNEL, m=M, C=C), 0, **EXACT)
    np.testing.assert_allclose(s.H.mean(axis=1), 0, **EXACT)
    np.testing.assert_allclose(s.b, 1 / C, **EXACT)


@pytest.mark.parametrize("alignment", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_unbalanced_states_have_the_asked_norm_and_alignment(alignment):
    s = block_ntk.initial_state(
        KERNEL,
        m=M,
        C=C,
        n=N_NEURONS,
        invariant_norm=0.2,
        alignment=alignment,
        key=jax.random.key(0),
    )
    E = block_ntk.invariant(s.W, s.H, KERNEL, m=M, C=C)
    gram = s.W.T @ s.W
    np.testing.assert_allclose(jnp.linalg.norm(E), 0.2, **EXACT)
    cosine = jnp.sum(E * gram) / jnp.linalg.norm(E) / jnp.linalg.norm(gram)
    np.testing.assert_allclose(cosine, alignment, **EXACT)
    np.testing.assert_allclose(s.H.mean(axis=1), 0, **EXACT)


def test_initial_states_can_be_drawn_by_vmap_over_keys():
    draw = lambda key: block_ntk.initial_state(  # noqa: E731
        KERNEL, m=M, C=C, n=N_NEURONS, key=key
    )
    keys = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_allclose(jax.vmap(draw)(keys).H[1], draw(keys[1]).H, **EXACT)


def test_impossible_initial_states_are_refused():
    ask = lambda n=N_NEURONS, **options: block_ntk.initial_state(  # noqa: E731
        KERNEL, m=M, C=C, n=n, key=jax.random.key(0), **options
    )
    with pytest.raises(ValueError, match="more neurons than classes; got n = 3"):
        ask(n=3)
    with pytest.raises(ValueError, match="must stay below"):
        ask(invariant_norm=1.0, alignment=0.5)
    with pytest.raises(ValueError, match="-1 <= alignment <= 1"):
        ask(alignment=1.5)
    with pytest.raises(ValueError, match="strength > 0"):
        block_ntk.symmetric_state(
            KERNEL, m=M, C=C, n=5, final_bias=0.1, strength=0.0, key=jax.random.key(0)
        )


# ---- Theorem 5.2 -----------------------------------------------------------------------


def test_theorem_5_2_balanced_and_centred_features_collapse(balanced):
    assert bool(balanced.converged(1e-8))
    got = collapse(balanced)
    assert got["nc1"] < 1e-14
    assert got["nc2"] < 1e-9
    assert got["nc3"] < 1e-9
    assert got["nc4"] == 0
    assert min(collapse(balanced, 0)[k] for k in ("nc1", "nc2", "nc3")) > 0.05


def test_remark_2_without_balance_the_flow_fits_the_labels_and_does_not_collapse():
    state = block_ntk.initial_state(
        KERNEL, m=M, C=C, n=N_NEURONS, invariant_norm=0.3, key=jax.random.key(1)
    )
    trajectory = run(state)
    assert bool(trajectory.converged(1e-8))
    got, before = collapse(trajectory), collapse(trajectory, -2)
    assert got["nc1"] > 1e-2
    assert got["nc3"] > 1e-1
    np.testing.assert_allclose(got["nc1"], before["nc1"], rtol=1e-6)  # a plateau, not a delay


def test_equation_28_an_invariant_along_the_classifier_collapses_although_it_is_not_zero():
    state = block_ntk.initial_state(
        KERNEL,
        m=M,
        C=C,
        n=N_NEURONS,
        invariant_norm=0.1,
        alignment=1.0,
        tight=True,
        key=jax.random.key(1),
    )
    trajectory = run(state)
    W, H1, _ = end(trajectory)
    got = collapse(trajectory)
    assert got["nc1"] < 1e-12
    assert got["nc2"] < 1e-8
    assert got["nc3"] < 1e-8
    _, H2 = decompose(trajectory.H[-1], m=M, C=C)
    features = H1 @ H1.T / CLASS + H2 @ H2.T / SINGLE
    gram = W.T @ W
    cosine = jnp.sum(features * gram) / jnp.linalg.norm(features) / jnp.linalg.norm(gram)
    np.testing.assert_allclose(cosine, 1, **LIMIT)
    # a multiple of W'W that is not a multiple of its projector is not enough
    bent = block_ntk.initial_state(
        KERNEL, m=M, C=C, n=N_NEURONS, invariant_norm=0.1, alignment=1.0, key=jax.random.key(1)
    )
    assert collapse(run(bent))["nc2"] > 1e-3


def within_class_phase():
    """A state with W H1 + b 1ᵀ = I and Ẽ ⪰ 0, where the proof of NC1 starts."""
    k = jax.random.split(jax.random.key(5), 2)
    W = jax.random.normal(k[0], (C, N_NEURONS))
    H2 = W.T @ jax.random.normal(k[1], (C, N - C))
    H2 *= jnp.sqrt(0.5 * SINGLE / M * jnp.linalg.eigvalsh(W @ W.T)[0]) / jnp.linalg.norm(
        jnp.linalg.pinv(W.T) @ H2, ord=2
    )
    H2 /= jnp.sqrt(jnp.linalg.norm(W, ord=2) ** 2)
    b = jnp.array([0.1, 0.5, 0.2])
    H1 = jnp.linalg.pinv(W) @ (jnp.eye(C) - b[:, None])
    state = (W, compose(H1, H2, m=M), b)
    return state, W.T @ W / M - H2 @ H2.T / SINGLE


def scatter_velocity(state):
    _, dH, _ = block_ntk.velocity(state, KERNEL, SIZES)
    (_, H2), (_, dH2) = decompose(state[1], m=M, C=C), decompose(dH, m=M, C=C)
    return H2 @ H2.T, dH2 @ H2.T + H2 @ dH2.T


def test_equations_46_and_47_the_scatter_obeys_a_riccati_equation():
    state, tilde = within_class_phase()
    S, dS = scatter_velocity(state)
    expected = -M * (SINGLE * (tilde @ S + S @ tilde) + 2 * S @ S)
    np.testing.assert_allclose(dS, expected, **EXACT)


def test_equations_48_and_49_diagonal_entries_shrink_at_least_quadratically():
    state, tilde = within_class_phase()
    values, vectors = jnp.linalg.eigh(tilde)
    assert float(values[0]) > -1e-12  # the proof needs Ẽ ⪰ 0
    S, dS = scatter_velocity(state)
    a, da = vectors.T @ S @ vectors, jnp.diag(vectors.T @ dS @ vectors)
    diagonal = jnp.diag(a)
    exact = -2 * M * (SINGLE * values * diagonal + jnp.sum(a**2, axis=1))
    np.testing.assert_allclose(da, exact, **EXACT)
    assert bool(jnp.all(da <= -2 * M * diagonal**2 + 1e-12))


def test_equations_50_to_52_the_within_class_part_vanishes(balanced):
    H2 = jax.vmap(lambda H: decompose(H, m=M, C=C)[1])(balanced.H)
    traces = M * jnp.sum(H2.reshape(len(TS), N_NEURONS, C, M - 1) ** 2, axis=(1, 3))
    assert float(jnp.max(traces[-1])) < 1e-14
    # and in finite time stays below the bound, class by class
    for c in range(C):
        bound = block_ntk.within_class_bound(float(traces[0, c]), TS, rank=M - 1)
        assert bool(jnp.all(traces[:, c] <= bound * (1 + 1e-9)))


def test_within_class_bound_fails_where_the_invariant_is_not_positive():
    state = block_ntk.initial_state(
        KERNEL, m=M, C=C, n=N_NEURONS, invariant_norm=0.3, key=jax.random.key(1)
    )
    H2 = decompose(run(state).H[-1], m=M, C=C)[1]
    start = decompose(state.H, m=M, C=C)[1]
    bound = block_ntk.within_class_bound(float(M * jnp.sum(start**2)), TS, rank=N - C)
    assert float(M * jnp.sum(H2**2)) > float(bound[-1])
    with pytest.raises(ValueError, match="rank >= 1"):
        block_ntk.within_class_bound(1.0, TS, rank=0)


def test_equations_53_and_54_biases_and_products_at_the_end(balanced):
    W, H1, b = end(balanced)
    np.testing.assert_allclose(W @ H1 + b[:, None], np.eye(C), **LIMIT)
    np.testing.assert_allclose(H1.sum(axis=1), 0, **LIMIT)
    np.testing.assert_allclose(b, 1 / C, **LIMIT)
    np.testing.assert_allclose(W @ H1, CENTRE, **LIMIT)


def test_equations_55_to_58_both_frames_are_the_simplex_frame(balanced):
    W, H1, _ = end(balanced)
    ratio = M / CLASS
    np.testing.assert_allclose(W.T @ W, ratio * H1 @ H1.T, **LIMIT)  # (55)
    np.testing.assert_allclose(W @ W.T @ W @ W.T, ratio * CENTRE, **LIMIT)  # (56)
    gram = H1.T @ H1
    np.testing.assert_allclose(ratio * gram @ gram, CENTRE, **LIMIT)  # (57)
    np.testing.assert_allclose(W @ W.T, ratio**0.5 * CENTRE, **LIMIT)  # (58)
    np.testing.assert_allclose(gram, ratio**-0.5 * CENTRE, **LIMIT)
    uniform = jnp.full(C, 1 / C)
    np.testing.assert_allclose(
        block_ntk.classifier_gram(uniform, MEAN_KERNEL), ratio**0.5 * CENTRE, **LIMIT
    )
    np.testing.assert_allclose(
        block_ntk.class_mean_gram(uniform, MEAN_KERNEL), ratio**-0.5 * CENTRE, **LIMIT
    )


def test_a_start_of_the_wrong_orientation_stalls_at_a_saddle():
    # E = O keeps the sign of det(W H1) when there is no within-class part to go round by.
    state = block_ntk.initial_state(
        KERNEL, m=M, C=C, n=N_NEURONS, within=0.0, key=jax.random.key(1)
    )
    u = jnp.asarray(np.linalg.eigh(CENTRE)[1][:, 1:2])
    mirrored = block_ntk.State(W=state.W - 2 * u @ (u.T @ state.W), H=state.H, b=state.b)
    assert float(run(state).residual[2]) < 0.1
    np.testing.assert_allclose(run(mirrored).residual[2], M**0.5, rtol=1e-3)


# ---- Appendix B.4: general biases ------------------------------------------------------


def squared_frame(b, alpha, scale):
    mixed = C * np.outer(b, b) - np.outer(b, np.ones(C)) - np.outer(np.ones(C), b)
    return scale * (np.eye(C) - alpha * ONES + (1 - alpha * C) * mixed)


def test_equation_59_the_balance_at_the_end(unequal_bias):
    W, H1, _ = end(unequal_bias)
    middle = np.eye(C) - ALPHA * ONES
    np.testing.assert_allclose(W.T @ W, M / CLASS * H1 @ middle @ H1.T, **LIMIT)


def test_equations_29_and_60_classifier_frame_for_any_biases(unequal_bias):
    W, _, b = end(unequal_bias)
    gram = block_ntk.classifier_gram(b, MEAN_KERNEL)
    np.testing.assert_allclose(W @ W.T, gram, **LIMIT)
    closed = squared_frame(np.asarray(b), ALPHA, M / CLASS)
    np.testing.assert_allclose(gram @ gram, closed, **EXACT)
    # b is far from uniform here, and the frame of uniform biases would not do
    assert float(jnp.max(jnp.abs(b - 1 / C))) > 0.05
    uniform = block_ntk.classifier_gram(jnp.full(C, 1 / C), MEAN_KERNEL)
    assert float(jnp.max(jnp.abs(W @ W.T - uniform))) > 1e-2


def test_equation_63_class_mean_frame_for_any_biases(unequal_bias):
    _, H1, b = end(unequal_bias)
    X, b = np.asarray(block_ntk.class_mean_gram(b, MEAN_KERNEL)), np.asarray(b)
    np.testing.assert_allclose(H1.T @ H1, X, **LIMIT)
    one = np.ones(C)
    right = np.eye(C) - np.outer(b, one) - np.outer(one, b) + b @ b * ONES
    np.testing.assert_allclose(X @ (np.eye(C) - ALPHA * ONES) @ X, CLASS / M * right, **EXACT)


BETAS = [0.0, 0.2, 1 / C, 0.6]


@pytest.mark.parametrize("beta", BETAS)
def test_equations_61_and_62_classifier_frame_for_equal_biases(beta):
    b = np.full(C, beta)
    rho0 = (1 - (1 - ALPHA * C) * (1 - C * beta) ** 2) / C
    np.testing.assert_allclose(squared_frame(b, ALPHA, 1.0), np.eye(C) - rho0 * ONES, **EXACT)
    rho = float(block_ntk.equal_bias_frames(beta, ALPHA, C=C).rho)
    gram = block_ntk.classifier_gram(jnp.asarray(b), MEAN_KERNEL)
    np.testing.assert_allclose(gram, (M / CLASS) ** 0.5 * (np.eye(C) - rho * ONES), **LIMIT)


def test_equation_30_the_flow_reaches_the_classifier_angle_of_its_bias(equal_bias):
    W, _, b = end(equal_bias)
    np.testing.assert_allclose(b, 0.2, **LIMIT)  # where the closed form said it would end
    frames = block_ntk.equal_bias_frames(0.2, ALPHA, C=C)
    assert float(frames.rho) < 1 / C
    unit = W / jnp.linalg.norm(W, axis=1, keepdims=True)
    np.testing.assert_allclose((unit @ unit.T)[0, 1:], frames.classifier_cosine, **LIMIT)
    simplex = block_ntk.equal_bias_frames(1 / C, ALPHA, C=C)
    np.testing.assert_allclose(simplex.classifier_cosine, -1 / (C - 1), **EXACT)
    assert abs(float(frames.classifier_cosine) + 1 / (C - 1)) > 0.05


def test_equation_30_holds_for_a_bias_above_one_over_c():
    trajectory = run(
        block_ntk.symmetric_state(
            KERNEL, m=M, C=C, n=N_NEURONS, final_bias=0.5, start_bias=0.4, key=jax.random.key(2)
        )
    )
    W, _, b = end(trajectory)
    np.testing.assert_allclose(b, 0.5, **LIMIT)
    rho = block_ntk.equal_bias_frames(0.5, ALPHA, C=C).rho
    np.testing.assert_allclose(W @ W.T, (M / CLASS) ** 0.5 * (np.eye(C) - rho * ONES), **LIMIT)


@pytest.mark.parametrize("beta", BETAS)
def test_equations_64_to_66_class_mean_frame_for_equal_biases(beta):
    X = block_ntk.class_mean_gram(jnp.full(C, beta), MEAN_KERNEL)
    phi = float(block_ntk.equal_bias_frames(beta, ALPHA, C=C).phi)
    np.testing.assert_allclose(X, (CLASS / M) ** 0.5 * (np.eye(C) - phi * ONES), **LIMIT)
    right = CLASS / M * (np.eye(C) - (2 * beta - C * beta**2) * ONES)
    np.testing.assert_allclose(X @ (np.eye(C) - ALPHA * ONES) @ X, right, **EXACT)  # (64)


def test_equation_67_equal_biases_keep_nc2_and_break_nc3(equal_bias):
    _, H1, _ = end(equal_bias)
    phi = block_ntk.equal_bias_frames(0.2, ALPHA, C=C).phi
    scale = (CLASS / M) ** 0.5
    np.testing.assert_allclose(H1.T @ H1, scale * (np.eye(C) - phi * ONES), **LIMIT)
    centred = H1 @ CENTRE
    np.testing.assert_allclose(centred.T @ centred, scale * CENTRE, **LIMIT)
    got = collapse(equal_bias)
    assert got["nc2"] < 1e-7
    assert got["nc3"] > 0.05


def test_equation_68_both_angles_agree_only_without_cross_class_kernel_or_at_the_simplex():
    gap = lambda beta, alpha: float(  # noqa: E731
        abs((f := block_ntk.equal_bias_frames(beta, alpha, C=C)).rho - f.phi)
    )
    assert gap(0.2, 0.0) < 1e-15
    assert gap(1 / C, ALPHA) < 1e-15
    assert gap(0.2, ALPHA) > 1e-2
    with pytest.raises(ValueError, match="alpha lies in"):
        block_ntk.equal_bias_frames(0.2, 1 / C, C=C)


def test_equation_69_alpha_and_both_its_limits():
    by_ratio = 1 / (C + (1.0 - 0.3) / 0.3 + (2.0 - 1.0) / (M * 0.3))
    np.testing.assert_allclose(ALPHA, by_ratio, **EXACT)
    assert float(BlockKernel(2.0, 1.0, 0.0).alpha(M, C)) == 0
    flat = BlockKernel(2.0, 1.0, 1.0 - 1e-9)
    assert float(flat.alpha(10**9, C)) == pytest.approx(1 / C, abs=1e-8)
    assert float(flat.alpha(M, C)) < 1 / C - 0.01  # many samples are needed too


def test_equation_70_where_alpha_is_one_over_c_any_biases_give_the_simplex():
    b = jnp.array([0.7, 0.1, -0.2])
    flat = BlockKernel(2.0, 1.0, 1.0 - 1e-8)
    m = 10**8
    M_ = flat.class_mean_kernel(m, C)
    means = np.asarray(block_ntk.class_mean_gram(b, M_))
    rows = np.asarray(block_ntk.classifier_gram(b, M_))
    centred = CENTRE @ means @ CENTRE
    for gram in (centred, rows):
        np.testing.assert_allclose(
            gram / np.linalg.norm(gram), CENTRE / np.linalg.norm(CENTRE), atol=1e-3
        )
    assert float(block_ntk.simplex_defect(b, M_)) < 1e-3
    assert float(block_ntk.simplex_defect(b, MEAN_KERNEL)) > 0.05


def test_limits_refuse_what_is_no_kernel_of_class_means():
    b = jnp.zeros(C)
    with pytest.raises(ValueError, match="symmetric positive definite"):
        block_ntk.classifier_gram(b, -jnp.eye(C))
    with pytest.raises(ValueError, match="symmetric positive definite"):
        block_ntk.class_mean_gram(b, jnp.zeros((C, C)))
