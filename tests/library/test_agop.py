"""Average gradient outer products: definition, closed forms of kernel machines, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import agop, linalg
from ncutils._fast import kernel_machine
from tests import oracles

N, D, C, L = 12, 5, 3, 1.5
EXACT = {"rtol": 1e-11, "atol": 1e-12}  # a few hundred roundings of float64


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(scope="module")
def M():
    A = draw(9, D, D)
    return A @ A.T / D


@pytest.fixture(scope="module")
def X():
    return draw(0, N, D)


@pytest.fixture(scope="module")
def alpha():
    return draw(1, N, C)


class Linear(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return self.weight @ x


# ---- any predictor -----------------------------------------------------------------------


def test_agop_of_a_linear_map_is_its_own_gram_matrix_whatever_the_data(X):
    W = draw(2, C, D)
    found = agop.agop(Linear(jnp.asarray(W)), jnp.asarray(X), chunk=5)
    np.testing.assert_allclose(found, W.T @ W, **EXACT)
    wide = draw(3, D + 2, D)  # more outputs than inputs: the other mode of differentiation
    found = agop.agop(Linear(jnp.asarray(wide)), jnp.asarray(X), chunk=5)
    np.testing.assert_allclose(found, wide.T @ wide, **EXACT)


def test_agop_is_the_mean_over_rows_and_not_the_sum(X):
    # f(x) = x∘x/2 has J = diag(x), so that the AGOP is the diagonal of second moments
    f = lambda x: x * x / 2  # noqa: E731
    moments = np.diag((X**2).mean(axis=0))
    for chunk in (5, 64):
        np.testing.assert_allclose(agop.agop(f, jnp.asarray(X), chunk=chunk), moments, **EXACT)
    assert np.max(np.abs(N * moments - moments)) > 1


def test_rows_that_fill_up_a_block_count_for_nothing_even_where_f_has_no_gradient():
    # the norm has a NaN gradient at zero; no block may be filled up with zeros
    X = jnp.asarray(draw(4, 5, D))
    f = lambda x: jnp.linalg.norm(x)[None]  # noqa: E731
    unit = np.asarray(X) / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(agop.agop(f, X, chunk=3), unit.T @ unit / 5, **EXACT)


def test_correlation_of_the_ansatz_is_one_where_it_holds_and_about_zero_by_chance():
    W = jnp.asarray(draw(5, 20, 40))
    assert float(agop.ansatz_correlation(W, 3 * jnp.linalg.matrix_power(W.T @ W, 2))) > 1 - 1e-6
    rotated = np.linalg.qr(draw(6, 40, 40))[0]
    other = jnp.asarray(rotated @ np.asarray(W.T @ W) @ rotated.T)
    A, B = np.asarray(W.T @ W), np.asarray(linalg.psd_sqrt(other))
    expected = np.corrcoef(A.ravel(), B.ravel())[0, 1]
    np.testing.assert_allclose(agop.ansatz_correlation(W, other), expected, rtol=1e-9)
    off = ~np.eye(40, dtype=bool)  # the diagonals agree by positivity alone
    assert abs(np.corrcoef(A[off], B[off])[0, 1]) < 0.1


# ---- kernel machines ---------------------------------------------------------------------


@pytest.mark.parametrize("kernel", agop.KERNELS)
def test_gradients_of_a_machine_are_the_slopes_of_its_outputs(kernel, X, alpha, M):
    # the oracle itself, against central differences; Laplace away from its own point
    at = X[0] + 0.3
    points = np.vstack([at, X])
    weights = np.vstack([np.zeros((1, C)), alpha])
    G = oracles.machine_gradients(weights, points, kernel, L, M)[0]
    step = 1e-6
    for k in range(D):
        ends = [
            oracles.machine_outputs(at + s * step * np.eye(D)[k], alpha, X, kernel, L, M)
            for s in (1, -1)
        ]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), G[k], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("kernel", "with_M"), [("laplace", True), ("laplace", False), ("gaussian", True)]
)
def test_both_forms_are_the_definition_and_automatic_differentiation(
    kernel, with_M, X, alpha, M, monkeypatch
):
    monkeypatch.setattr(kernel_machine, "ENTRIES", 5 * N)  # blocks of 5 rows, the last of 2
    monkeypatch.setattr(kernel_machine, "SMALL", N - 1 if with_M else N)  # four blocks, or one
    metric = M if with_M else np.eye(D)
    G = oracles.machine_gradients(alpha, X, kernel, L, metric)
    expected = oracles.mean_outer_product(G)
    given = {"kernel": kernel, "bandwidth": L, "M": jnp.asarray(M) if with_M else None}
    for form in agop.FORMS:
        found = agop.kernel_agop(jnp.asarray(alpha), jnp.asarray(X), **given, form=form)
        np.testing.assert_allclose(found, expected, **EXACT)
    machine = agop.KernelMachine(
        jnp.asarray(alpha), jnp.asarray(X), given["M"], jnp.asarray(1.0), kernel, L
    )
    np.testing.assert_allclose(agop.agop(machine, jnp.asarray(X)), expected, **EXACT)
    # the gradients of another kernel, or without M, are far away
    wrong = oracles.machine_gradients(alpha, X, kernel, 1.1 * L, metric)
    assert np.max(np.abs(oracles.mean_outer_product(wrong) - expected)) > 0.01


def test_coinciding_points_leave_no_term_and_near_ones_keep_eight_digits(X, alpha):
    given = {"kernel": "laplace", "bandwidth": L}
    twice = X.copy()
    twice[1] = twice[0]
    near = X.copy()
    near[1] = near[0] + 1e-4 * draw(7, D)
    for points, rtol in ((twice, 1e-10), (near, 1e-7)):
        G = oracles.machine_gradients(alpha, points, "laplace", L, np.eye(D))
        expected = oracles.mean_outer_product(G)
        for form in agop.FORMS:
            found = agop.kernel_agop(jnp.asarray(alpha), jnp.asarray(points), **given, form=form)
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def test_float32_takes_the_gram_form_through_float64(X, alpha):
    given = {"kernel": "laplace", "bandwidth": L}
    single = [jnp.asarray(a, jnp.float32) for a in (alpha, X)]
    exact = agop.kernel_agop(jnp.asarray(alpha), jnp.asarray(X), **given)
    found = agop.kernel_agop(*single, **given, form="gram")
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6)
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="cancels too much in float32"):
            agop.kernel_agop(*single, **given, form="gram")
        np.testing.assert_allclose(
            agop.kernel_agop(*single, **given), np.asarray(exact), rtol=1e-4, atol=1e-4
        )


def test_the_cheaper_form_is_chosen_by_size():
    assert agop.cheaper_form(1000, 3072, 10) == "gram"
    assert agop.cheaper_form(2000, 784, 10) == "gram"
    assert agop.cheaper_form(50_000, 784, 10) == "direct"
    assert agop.cheaper_form(1000, 784, 1) == "direct"


@pytest.mark.parametrize("kernel", agop.KERNELS)
def test_kernel_ridge_solves_its_equations_and_interpolates_without_ridge(kernel, X, M):
    Y = draw(8, N, C)
    K = np.array(
        [
            [oracles.machine_outputs(x, np.ones((1, 1)), z[None], kernel, L, M)[0] for z in X]
            for x in X
        ]
    )
    given = {"kernel": kernel, "bandwidth": L, "M": jnp.asarray(M)}
    machine = agop.kernel_ridge(jnp.asarray(X), jnp.asarray(Y), **given, ridge=0.1)
    np.testing.assert_allclose((K + 0.1 * np.eye(N)) @ machine.alpha, Y, rtol=1e-9, atol=1e-11)
    # a point is at distance √eps from itself, as inner products see it
    np.testing.assert_allclose(machine.predict(jnp.asarray(X)), K @ machine.alpha, rtol=1e-6)
    np.testing.assert_allclose(machine(jnp.asarray(X[3])), K[3] @ machine.alpha, **EXACT)
    exact = agop.kernel_ridge(jnp.asarray(X), jnp.asarray(Y), **given)
    np.testing.assert_allclose(exact.predict(jnp.asarray(X)), Y, rtol=1e-7, atol=1e-7)
    assert np.max(np.abs(K @ machine.alpha - Y)) > 0.01  # with ridge it does not interpolate


@pytest.mark.parametrize("kernel", agop.KERNELS)
def test_regression_and_agop_from_one_matrix_of_distances_are_those_of_two(
    kernel, X, M, monkeypatch
):
    monkeypatch.setattr(agop, "cheaper_form", lambda n, d, C: "gram")
    Y = jnp.asarray(draw(8, N, C))
    given = {"kernel": kernel, "bandwidth": L, "M": jnp.asarray(M)}
    for dtype, rtol in ((jnp.float64, 1e-9), (jnp.float32, 1e-7)):
        points, targets = jnp.asarray(X, dtype), Y.astype(dtype)
        machine = agop.kernel_ridge(points, targets, **given, ridge=0.1)
        both, matrix = agop.kernel_ridge_agop(points, targets, **given, ridge=0.1)
        np.testing.assert_allclose(both.alpha, machine.alpha, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(both.pivot, machine.pivot, rtol=rtol)
        assert (both.kernel, both.bandwidth, both.M is given["M"]) == (kernel, L, True)
        expected = agop.kernel_agop(machine.alpha, points, **given)
        np.testing.assert_allclose(matrix, expected, rtol=rtol, atol=rtol)
        assert matrix.dtype == dtype
        other = agop.kernel_ridge_agop(points, targets, **given, ridge=0.2)[1]
        assert jnp.max(jnp.abs(other - expected)) > 1e-3


def test_predictions_in_parts_are_those_at_once(X, alpha, monkeypatch):
    given = (jnp.asarray(1.0), "gaussian", L)
    machine = agop.KernelMachine(jnp.asarray(alpha), jnp.asarray(X), None, *given)
    whole = machine.predict(jnp.asarray(X))
    monkeypatch.setattr(kernel_machine, "ENTRIES", 6 * N)
    np.testing.assert_allclose(machine.predict(jnp.asarray(X)), whole, **EXACT)


# ---- refusals ----------------------------------------------------------------------------


def test_a_singular_kernel_is_refused_with_its_remedy(X):
    Y = jnp.asarray(draw(8, N, C))
    twice = jnp.asarray(np.vstack([X[:-1], X[:1]]))
    given = {"kernel": "laplace", "bandwidth": L}
    with pytest.raises(ValueError, match=r"1 of 12 rows repeat others: take a ridge, 1e-3"):
        agop.kernel_ridge(twice, Y, **given)
    assert bool(jnp.all(jnp.isfinite(agop.kernel_ridge(twice, Y, **given, ridge=1e-3).alpha)))
    with pytest.raises(ValueError, match="11 of 12 rows repeat others"):
        agop.kernel_ridge(jnp.ones_like(twice), Y, **given)
    with pytest.raises(ValueError, match="1 of 12 rows repeat others"):
        agop.kernel_ridge_agop(twice, Y, **given)
    near = jnp.asarray(1e-9 * X)
    with pytest.raises(ValueError, match=r"gaussian kernel .* singular .* points nearly coincide"):
        agop.kernel_ridge(near, Y, kernel="gaussian", bandwidth=L)


@pytest.mark.usefixtures("as_a_user")
def test_bad_arguments_are_refused(X, alpha, M):
    X, alpha, M = jnp.asarray(X), jnp.asarray(alpha), jnp.asarray(M)
    fit = lambda X=X, Y=alpha, kernel="laplace", bandwidth=L, **more: agop.kernel_ridge(  # noqa: E731
        X, Y, kernel=kernel, bandwidth=bandwidth, **more
    )
    for match, call in (
        ("unknown kernel 'cosine': choose one of laplace, gaussian", lambda: fit(kernel="cosine")),
        (r"got \(12, 5\) and \(11, 3\)", lambda: fit(Y=alpha[:-1])),
        ("bandwidth must be positive, not 0", lambda: fit(bandwidth=0.0)),
        (r"M has shape \(4, 4\), expected \(5, 5\)", lambda: fit(M=M[1:, 1:])),
        ("ridge must not be negative, not -1", lambda: fit(ridge=-1)),
        (
            "ridge must not be negative, not -1",
            lambda: agop.kernel_ridge_agop(X, alpha, kernel="laplace", bandwidth=L, ridge=-1),
        ),
        ("X has 1 entries that are not finite", lambda: fit(X=X.at[0, 0].set(jnp.nan))),
        (
            "unknown form 'fast'",
            lambda: agop.kernel_agop(alpha, X, kernel="laplace", bandwidth=L, form="fast"),
        ),
        ("f must return a vector", lambda: agop.agop(jnp.sum, X)),
        (r"not of shape \(5,\)", lambda: agop.agop(lambda x: x, X[0])),
        ("chunk counts rows", lambda: agop.agop(lambda x: x, X, chunk=0)),
        ("W has 4 columns", lambda: agop.ansatz_correlation(alpha.T[:, :4], M)),
        ("matrices of one shape", lambda: agop.pearson(M, alpha)),
    ):
        with pytest.raises(ValueError, match=match):
            call()
