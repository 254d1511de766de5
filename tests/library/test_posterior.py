"""The sampler finds known posteriors, and its numbers judge the Equations of State."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from ncutils import eos
from ncutils.eos import posterior
from tests import oracles

# A sample mean is within 4.5 standard errors but for one draw in 100,000.
SIGMAS = 4.5


def linear_gaussian(theta, args):
    """One weight, Gaussian prior, n noisy observations y = w x."""
    x, y, noise_var, prior_var = args
    return -0.5 * jnp.sum((y - theta[0] * x) ** 2) / noise_var - 0.5 * theta[0] ** 2 / prior_var


def first(theta, _args):
    return theta[0]


def two_classes(n, d, dtype=jnp.float64):
    rng = np.random.default_rng(0)
    y = np.repeat([-1.0, 1.0], n // 2)
    X = 2 * y[:, None] + 0.5 * rng.normal(size=(n, d))
    return posterior.Network(jnp.asarray(X, dtype), jnp.asarray(y, dtype), 1e-2)


@pytest.mark.parametrize("leapfrog", [1, 5])
def test_a_linear_gaussian_posterior_is_sampled_with_its_mean_and_variance(leapfrog):
    x, noise_var, prior_var = np.array([0.5, -1.0, 2.0]), 0.3, 0.2
    y = np.array([0.4, -0.2, 1.9])
    precision = x @ x / noise_var + 1 / prior_var
    mean = x @ y / noise_var / precision
    samples = posterior.sample(
        linear_gaussian,
        jnp.zeros((16, 1)),
        (jnp.asarray(x), jnp.asarray(y), noise_var, prior_var),
        watch=first,
        step=0.5,
        burn_in=200,
        keep=3000,
        chunk=3000,
        leapfrog=leapfrog,
        key=jax.random.key(leapfrog),
    )
    got, error = posterior.mean_and_error(samples.values)
    assert abs(got - mean) < SIGMAS * error
    assert error < 0.02 / math.sqrt(precision)
    square, error = posterior.mean_and_error((samples.values - mean) ** 2)
    assert abs(square - 1 / precision) < SIGMAS * error
    # the prior's variance, or a posterior without its prior, would be told apart
    assert abs(square - noise_var / (x @ x)) > SIGMAS * error
    target = 0.574 if leapfrog == 1 else 0.8
    assert abs(samples.acceptance.mean() - target) < 0.15


def test_without_the_metropolis_test_a_long_step_biases_the_variance():
    """Known exactly: Euler's chain on a unit Gaussian has variance 1 / (1 - ε²/4)."""
    step = 1.0
    samples = posterior.sample(
        linear_gaussian,
        jnp.zeros((16, 1)),
        (jnp.zeros(1), jnp.zeros(1), 1.0, 1.0),
        watch=first,
        step=step,
        burn_in=200,
        keep=3000,
        chunk=3000,
        adjust=False,
        key=jax.random.key(3),
    )
    square, error = posterior.mean_and_error(samples.values**2)
    # ε is drawn within ±20 %: the stationary variance is E[ε²] / E[2h - h²], h = ε²/2
    strides = step * np.linspace(0.8, 1.2, 2001)
    h = strides**2 / 2
    assert abs(square - np.mean(strides**2) / np.mean(2 * h - h**2)) < SIGMAS * error
    assert abs(square - 1) > SIGMAS * error


def test_the_readout_is_integrated_out_exactly():
    """Against scipy's density of y given W, and against sampling a from its prior."""
    net = two_classes(4, 2)._replace(noise_var=0.5, weight_var=1.3, readout_var=0.9)
    X, y = np.asarray(net.X), np.asarray(net.y)
    rng = np.random.default_rng(1)

    def direct(W):
        features = scipy.special.erf(X @ W.T)
        covariance = 0.9 / len(W) * features @ features.T + 0.5 * np.eye(4)
        prior = scipy.stats.norm(scale=math.sqrt(1.3 / 2)).logpdf(W).sum()
        return scipy.stats.multivariate_normal(np.zeros(4), covariance).logpdf(y) + prior

    one, two = rng.normal(size=(2, 3, 2))
    got = [float(posterior.log_posterior(jnp.asarray(W), net)) for W in (one, two)]
    assert got[0] - got[1] == pytest.approx(direct(one) - direct(two), rel=1e-10)

    # p(W|y) ∝ p(W) ∫ p(y|W, a) p(a) da, with a drawn from its prior N(0, 0.9/3)
    readout = rng.normal(size=(200_000, 3)) * math.sqrt(0.9 / 3)

    def integral(W):
        gaps = y - readout @ scipy.special.erf(X @ W.T).T
        logs = -0.5 * (gaps**2).sum(axis=1) / 0.5
        return float(scipy.special.logsumexp(logs) - 0.5 * 2 / 1.3 * (W**2).sum())

    assert integral(one) - integral(two) == pytest.approx(got[0] - got[1], abs=0.03)


def test_sampling_judges_the_source_term_of_the_equations_of_state():
    """Spike of Σ along the class direction: sampled, predicted, and with wrong terms.

    At width 100 the corrections to mean field are a few per cent of Σ.
    """
    n, d, width = 16, 2, 100
    net = two_classes(n, d, jnp.float32)
    start = posterior.prior_weights(net, width=width, chains=8, key=jax.random.key(1))
    samples = posterior.sample(
        posterior.log_posterior,
        start,
        net,
        watch=sigma_only,
        step=0.12,
        burn_in=150,
        keep=500,
        leapfrog=8,
        key=jax.random.key(2),
    )
    spikes = d * jnp.mean(samples.values, axis=(2, 3)) * d  # d·uᵀΣu with u = 1/√d
    sampled, error = posterior.mean_and_error(spikes, batches=5)
    assert error < 0.02

    X, y = (np.asarray(a, float) for a in (net.X, net.y))
    solution = eos.solve(jnp.asarray(X), jnp.asarray(y), width=float(width), noise_var=1e-2)
    assert bool(solution.converged)
    theory = float(d * jnp.mean(solution.sigma) * d)
    assert abs(sampled - theory) < SIGMAS * error + 0.05

    for wrong in ({"sign": 1.0}, {"power": -2}, {"power": 2}):
        sigma = scipy.optimize.fixed_point(
            lambda S, wrong=wrong: (
                0.5 * (S + oracles.eos_new_sigma(S, X, y, width, noise_var=1e-2, **wrong))
            ),
            np.eye(d) / d,
            method="iteration",
            xtol=1e-3,
        )
        assert abs(sampled - d * d * sigma.mean()) > 2 * (SIGMAS * error + 0.05)


def sigma_only(W, net):
    return posterior.observe(W, net)["sigma"]


def test_mean_and_error_sees_the_memory_of_a_chain():
    """An autoregressive chain of memory 0.9: the naive error is 4.4 times too small."""
    rng, rho = np.random.default_rng(5), 0.9
    noise = rng.normal(size=(8, 20_000)) * math.sqrt(1 - rho**2)
    values = np.zeros_like(noise)
    for t in range(1, noise.shape[1]):
        values[:, t] = rho * values[:, t - 1] + noise[:, t]
    _, error = posterior.mean_and_error(jnp.asarray(values), batches=20)
    expected = math.sqrt((1 + rho) / (1 - rho) / noise.size)
    assert float(error) == pytest.approx(expected, rel=0.25)  # 160 batches: ±6 %
    assert float(error) > 3 * values.std() / math.sqrt(noise.size)


def test_bad_input_is_refused_with_a_reason():
    good = dict(watch=first, step=0.1, burn_in=0, keep=1, key=jax.random.key(0))
    args = (jnp.zeros(1), jnp.zeros(1), 1.0, 1.0)
    start = jnp.zeros((2, 1))
    cases = {
        "step": (start, {"step": 0.0}),
        "keep": (start, {"keep": 0}),
        "leapfrog": (start, {"leapfrog": 0}),
        "burn_in": (start, {"burn_in": -1}),
        "start has": (start + jnp.nan, {}),
        "not finite at every start": (start + 1e200, {}),
    }
    for reason, (begin, change) in cases.items():
        with pytest.raises(ValueError, match=reason):
            posterior.sample(linear_gaussian, begin, args, **{**good, **change})
    with pytest.raises(ValueError, match="batches"):
        posterior.mean_and_error(jnp.zeros((1, 5)), batches=1)
