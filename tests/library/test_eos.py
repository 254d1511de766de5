"""The Equations of State: derivation, solver, and what the released code solves instead."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from ncutils import eos, kernels, metrics
from ncutils.kernels import erf
from tests import oracles

N, D, WIDTH = 24, 3, 300.0
# Rounding of G is about eps·‖Q‖·‖(Q + σ²)⁻¹‖; at σ² = 1e-4 that is 1e-12.
NOISE = 1e-4
SETTINGS = {"width": WIDTH, "noise_var": NOISE}


def two_classes(seed, n=N, d=D, std=0.5):
    rng = np.random.default_rng(seed)
    y = np.repeat([-1.0, 1.0], n // 2)
    return 2 * y[:, None] + std * rng.normal(size=(n, d)), y


def some_sigma(seed, d=D):
    root = np.eye(d) + 0.3 * np.random.default_rng(seed).normal(size=(d, d))
    return root @ root.T / d


@pytest.fixture(scope="module")
def data():
    return two_classes(0)


@pytest.fixture(scope="module")
def solution(data):
    return eos.solve(*map(jnp.asarray, data), **SETTINGS)


@pytest.fixture(scope="module")
def released(data):
    return eos.solve(*map(jnp.asarray, data), source="released_code", **SETTINGS)


def gap(sigma, new):
    return np.linalg.norm(sigma - new) / np.linalg.norm(sigma)


# ---- the equations ---------------------------------------------------------------------


def test_the_kernel_is_the_mean_over_gaussian_weights():
    X, _ = two_classes(1, n=4)
    sigma = some_sigma(1)
    # RMS error of a mean of 4e5 products of numbers below one is below 1.6e-3
    weights = np.random.default_rng(1).multivariate_normal(np.zeros(D), sigma, size=400_000)
    features = np.vectorize(math.erf)(weights @ X.T)
    sampled = features.T @ features / len(features) / 128
    got = erf.kernel(jnp.asarray(sigma), jnp.asarray(X))
    np.testing.assert_allclose(got, sampled, atol=5 * 1.6e-3 / 128)
    np.testing.assert_allclose(got, oracles.eos_kernel(sigma, X), atol=1e-15)
    assert eos.kernel is erf.kernel


def test_at_the_prior_covariance_the_kernel_is_the_nngp():
    X = jnp.asarray(two_classes(2)[0])
    want = kernels.nngp(X, activation="erf", weight_var=1.7) / 128
    np.testing.assert_allclose(erf.kernel(1.7 / D * jnp.eye(D), X), want, atol=1e-15)


def test_the_trace_gradient_is_that_of_finite_differences():
    X, _ = two_classes(3)
    sigma, rng = some_sigma(3), np.random.default_rng(3)
    A, E = rng.normal(size=(N, N)), rng.normal(size=(D, D))
    A, E = A + A.T, E + E.T
    got = erf.trace_gradient(*map(jnp.asarray, (A, sigma, X)))
    np.testing.assert_allclose(got, oracles.eos_trace_gradient(A, sigma, X), atol=1e-12)

    def trace(step):
        return np.sum(A * oracles.eos_kernel(sigma + step * E, X))

    h = 1e-5
    central = (trace(h) - trace(-h)) / (2 * h)
    assert np.sum(np.asarray(got) * E) == pytest.approx(central, rel=1e-8)
    # without the diagonal part, c, it is not the gradient
    at = erf.gram(jnp.linalg.cholesky(jnp.asarray(sigma)), jnp.asarray(X), 1 / 128)
    without = X.T @ (A * np.asarray(at.derivative)) @ X / 128
    assert np.sum(without * E) != pytest.approx(central, rel=1e-2)


@pytest.mark.parametrize("noise_var", [1e-2, NOISE])
def test_the_source_term_comes_from_the_free_energy(data, noise_var):
    """∂F/∂Σ = (d1/2)(Σ_new⁻¹ - Σ⁻¹), and no other sign or power of σ does that."""
    X, y = data
    sigma = some_sigma(4)
    E = np.random.default_rng(4).normal(size=(D, D))
    E, h = E + E.T, 1e-5

    def free(step):
        return oracles.eos_free_energy(sigma + step * E, X, y, WIDTH, noise_var=noise_var)

    slope = (free(h) - free(-h)) / (2 * h)

    def predicted(new):
        return WIDTH / 2 * np.sum((np.linalg.inv(new) - np.linalg.inv(sigma)) * E)

    new = eos.right_hand_side(*map(jnp.asarray, (sigma, X, y)), width=WIDTH, noise_var=noise_var)
    assert predicted(np.asarray(new)) == pytest.approx(slope, rel=1e-6)
    for wrong in ({"sign": 1.0}, {"power": -2}, {"power": 2}):
        other = oracles.eos_new_sigma(sigma, X, y, WIDTH, noise_var=noise_var, **wrong)
        assert predicted(other) != pytest.approx(slope, rel=1e-2)
    own = eos.free_energy(*map(jnp.asarray, (sigma, X, y)), width=WIDTH, noise_var=noise_var)
    assert float(own) == pytest.approx(free(0.0), rel=1e-12)


def test_the_right_hand_side_is_that_of_the_textbook(data):
    X, y = data
    sigma = some_sigma(5)
    got = eos.right_hand_side(*map(jnp.asarray, (sigma, X, y)), **SETTINGS)
    want = oracles.eos_new_sigma(sigma, X, y, WIDTH, noise_var=NOISE)
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


def test_released_code_has_the_broadcast_of_the_public_code(data):
    X, y = data
    y = y + np.linspace(0, 0.5, N)  # not balanced: else D Dᵀ loses its cross terms
    sigma = some_sigma(6)
    got = eos.right_hand_side(
        *map(jnp.asarray, (sigma, X, y)), source="released_code", width=WIDTH, noise_var=1e-2
    )
    want = oracles.eos_released_sigma(sigma, X, y, WIDTH, noise_var=1e-2)
    np.testing.assert_allclose(got, want, rtol=1e-9)
    unbroadcast = oracles.eos_new_sigma(sigma, X, y, WIDTH, noise_var=1e-2, power=2)
    assert gap(np.asarray(got), unbroadcast) > 1e-6


# ---- the solver ------------------------------------------------------------------------


def test_a_solution_solves_the_textbook_equations(data, solution):
    X, y = data
    sigma = np.asarray(solution.sigma)
    assert bool(solution.converged)
    assert float(solution.residual) <= 1e-8
    reported = eos.residual(solution.sigma, *map(jnp.asarray, data), **SETTINGS)
    assert float(reported) == pytest.approx(float(solution.residual), abs=1e-10)
    assert gap(sigma, oracles.eos_new_sigma(sigma, X, y, WIDTH, noise_var=NOISE)) <= 2e-8
    np.testing.assert_allclose(solution.kernel, oracles.eos_kernel(sigma, X), atol=1e-15)


@pytest.mark.parametrize("wrong", [{"sign": 1.0}, {"power": -2}, {"power": 2}])
def test_a_solution_fails_the_equations_with_a_wrong_source_term(data, solution, wrong):
    sigma = np.asarray(solution.sigma)
    new = oracles.eos_new_sigma(sigma, *data, WIDTH, noise_var=NOISE, **wrong)
    assert gap(sigma, new) > 1e-2


def test_an_independent_minimiser_of_the_free_energy_finds_the_same_covariance(data, solution):
    """scipy on a Cholesky factor, gradient by differences of the oracle's free energy."""
    X, y = data
    lower = np.tril_indices(D)

    def sigma_of(x):
        L = np.zeros((D, D))
        L[lower] = x
        return L @ L.T / D

    def free(x):
        return oracles.eos_free_energy(sigma_of(x), X, y, WIDTH, noise_var=NOISE) / WIDTH

    found = scipy.optimize.minimize(
        free, np.eye(D)[lower], method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9}
    )
    # differences of step 1e-8 leave the gradient uncertain by about 1e-7
    assert gap(np.asarray(solution.sigma), sigma_of(found.x)) < 1e-5
    # and the free energy is stationary in every direction
    slopes = jax.grad(lambda s: eos.free_energy(s, *map(jnp.asarray, data), **SETTINGS))
    root = np.linalg.cholesky(solution.sigma)
    assert np.abs(root.T @ np.asarray(slopes(solution.sigma)) @ root).max() < 1e-6 * WIDTH


def test_the_published_root_finder_agrees_where_it_converges(data, released):
    X, y = data

    def published(sigma):
        return sigma - oracles.eos_released_sigma(sigma, X, y, WIDTH, noise_var=NOISE)

    found = scipy.optimize.newton_krylov(published, np.eye(D) / D, f_tol=1e-9)
    assert bool(released.converged)
    assert gap(np.asarray(released.sigma), found) < 1e-7


def test_infinite_width_gives_the_nngp(data):
    X, y = map(jnp.asarray, data)
    wide = eos.solve(X, y, width=math.inf, noise_var=NOISE)
    np.testing.assert_allclose(wide.sigma, np.eye(D) / D, atol=1e-14)
    np.testing.assert_allclose(wide.kernel, kernels.nngp(X, activation="erf") / 128, atol=1e-15)


def test_shuffled_labels_change_the_theory_and_hardly_the_released_equations(
    data, solution, released
):
    X = jnp.asarray(data[0])
    shuffled = jnp.asarray(np.random.default_rng(7).permutation(data[1]))
    theory = eos.solve(X, shuffled, **SETTINGS)
    code = eos.solve(X, shuffled, source="released_code", **SETTINGS)
    assert bool(theory.converged)
    assert bool(code.converged)
    assert gap(np.asarray(solution.sigma), theory.sigma) > 0.1
    assert gap(np.asarray(released.sigma), code.sigma) < 1e-2


def test_on_two_classes_the_covariance_grows_a_spike_and_nc1_falls(data, solution):
    X, y = data
    labels = jnp.asarray((y > 0).astype(int))
    values, vectors = np.linalg.eigh(solution.sigma)
    assert D * values[-1] > 1 > D * values[-2]
    assert abs(vectors[:, -1].sum()) / math.sqrt(D) > 0.9
    nngp = kernels.nngp(jnp.asarray(X), activation="erf")
    assert (
        metrics.kernel_nc1(solution.kernel, labels, num_classes=2).ratio
        < metrics.kernel_nc1(nngp, labels, num_classes=2).ratio
    )


def test_a_search_that_is_cut_short_says_so(data):
    short = eos.solve(*map(jnp.asarray, data), max_steps=2, **SETTINGS)
    assert not bool(short.converged)
    assert float(short.residual) > 1e-8
    assert int(short.steps) == 2


# ---- bad input -------------------------------------------------------------------------

BAD = {
    "NaN in X": ({"X": np.full((N, D), np.nan)}, "not finite"),
    "infinity in y": ({"y": np.r_[np.inf, np.ones(N - 1)]}, "not finite"),
    "lengths": ({"y": np.arange(N - 1.0)}, "24 rows"),
    "one row": ({"X": np.ones((1, D)), "y": np.ones(1)}, "two rows"),
    "constant": ({"y": np.ones(N)}, "constant"),
    "width": ({"width": 0.0}, "width must be positive"),
    "noise": ({"noise_var": 0.0}, "noise_var must be positive"),
    "NaN noise": ({"noise_var": math.nan}, "noise_var must be positive"),
    "weights": ({"weight_var": -1.0}, "weight_var must be positive"),
    "readout": ({"readout_var": 0.0}, "readout_var must be positive"),
    "source": ({"source": "guess"}, "unknown source"),
    "start": ({"start": np.eye(D + 1)}, "sigma has shape"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("as_a_user")
def test_bad_input_is_refused_with_a_reason(data, case):
    change, reason = BAD[case]
    arguments = {"X": data[0], "y": data[1], **SETTINGS, **change}
    arguments = {
        k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()
    }
    with pytest.raises(ValueError, match=reason):
        eos.solve(**arguments)


def test_a_singular_kernel_without_noise_to_speak_of_is_refused(data):
    X, y = data
    twice = jnp.asarray(np.concatenate([X[:12], X[:12]]))  # each row two times
    with pytest.raises(ValueError, match="singular"):
        eos.solve(twice, jnp.asarray(y), width=WIDTH, noise_var=1e-30)


def test_single_precision_is_refused(data):
    X, y = map(jnp.asarray, data)
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64"):
        eos.solve(X, y, **SETTINGS)
