"""Real networks beside the Equations of State: rivals, the mean field, trained and sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import eos, experiments
from ncutils.experiments.kothapalli2025 import posterior as experiment
from ncutils.experiments.kothapalli2025.equations_of_state import make
from ncutils.kernels import erf
from tests import oracles


@pytest.fixture(scope="module")
def plane():
    X, labels, y = make("D1", total=16, dim=2, pad=2, seeds=(0,))
    return X[0], labels, y


def test_the_textbook_variant_is_the_solution_and_the_others_are_not(plane):
    X, _, y = plane
    own = eos.solve(X, y, width=100.0, noise_var=1e-2).sigma
    found = {
        name: experiment.altered_covariance(X, y, variant=name, width=100.0, noise=1e-2)
        for name in experiment.VARIANTS
    }
    np.testing.assert_allclose(found["theory"], own, rtol=1e-4, atol=1e-6)
    assert found["theory"].sum() > 1.2
    assert found["wrong sign"].sum() < 0.95
    for name in ("power -2", "power 2"):
        assert abs(found[name].sum() - 1) < 0.02


def test_central_differences_agree_with_the_minus_sign_only():
    minus, plus = experiment.gradient_errors(jax.random.key(0), count=2)
    assert minus.max() < 1e-6
    assert plus.min() > 1e-3


def test_mean_field_at_infinite_width_is_the_prior_and_to_first_order_the_equations(plane):
    X, _, y = plane
    sigma, Q, fine = experiment.mean_field(X, y, 1e12, 1e-2)
    assert bool(fine)
    np.testing.assert_allclose(sigma, np.eye(2) / 2, atol=1e-6)
    np.testing.assert_allclose(Q, erf.kernel(jnp.eye(2) / 2, X), atol=1e-6)
    drift = []
    for width in (2e4, 4e4):
        sigma, _, fine = experiment.mean_field(X, y, width, 1e-2)
        assert bool(fine)
        same = eos.solve(X, y, width=width, noise_var=1e-2, tol=1e-10).sigma
        drift.append((float(sigma.sum()) - 1, float(same.sum()) - 1))
    for own, other in drift:
        assert own == pytest.approx(other, rel=0.01)
    assert drift[0][0] == pytest.approx(2 * drift[1][0], rel=0.02)


def test_mean_field_solves_its_own_equation_by_another_quadrature(plane):
    X, _, y = map(np.asarray, plane)
    sigma, Q, fine = experiment.mean_field(jnp.asarray(X), jnp.asarray(y), 50.0, 1e-2)
    assert bool(fine)
    by_hand = oracles.mean_field_moments(np.asarray(Q), X, y, width=50.0, noise=1e-2)
    np.testing.assert_allclose(by_hand[0], sigma, rtol=2e-3)
    np.testing.assert_allclose(by_hand[1], Q, rtol=5e-3, atol=1e-6)
    prior = oracles.mean_field_moments(np.asarray(Q), X, y, width=1e12, noise=1e-2)
    assert np.abs(prior[0] - np.asarray(sigma)).max() > 0.05
    with pytest.raises(ValueError, match="3 columns"):
        experiment.mean_field(jnp.ones((4, 3)), jnp.ones(4), 50.0, 1e-2)


def test_small_networks_are_trained_and_sampled():
    ds = experiment.trained(
        experiment.Trained(seeds=(0, 1), totals=(8,), dims=(2,), width=16, epochs=2)
    )
    assert dict(ds.sizes) == {"N": 1, "d0": 1, "repeat": 2}
    assert np.isfinite(ds.network).all()
    few = experiment.Sampled(
        points=((8, 2, 20),), burn_in=5, keep=20, chains=2, leapfrog=2, ladder=(50, 100)
    )
    ds = experiment.sampled(few)
    assert all(np.isfinite(ds[name]).all() for name in ds.data_vars)
    assert (ds.nc1_error > 0).all()


def test_a_trained_network_goes_on_from_a_checkpoint_and_leaves_none(tmp_path):
    config = experiment.Trained(seeds=(0, 1), totals=(8,), dims=(2,), width=16, epochs=2)
    ds = experiment.trained(config, checkpoint=tmp_path / "trained.eqx")
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(ds.network, experiment.trained(config).network)


def test_paper_scale_has_the_published_settings():
    config = experiments.config_of("kothapalli2025/posterior/trained", scale="paper")
    assert (config.width, config.epochs, config.learning_rate) == (500, 1000, 1e-3)
    assert (config.totals, config.weight_decay) == ((128, 256, 512, 1024), 1e-6)
    points = experiments.config_of("kothapalli2025/posterior/sampled", scale="paper").points
    assert all(width > N for N, _, width in points)
