"""The Equations of State experiments: padding, rivals, mean field, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import eos, metrics
from ncutils.kernels import erf
from ncutils.experiments.kothapalli2025 import _mean_field, eos_networks
from ncutils.experiments.kothapalli2025 import equations_of_state as experiment
from tests import oracles

CONFIG = experiment.Config("figure4", seeds=(0,), totals=(16,), dims=(2,), widths=(100.0,))


@pytest.fixture(scope="module")
def plane():
    X, labels, y = experiment.make("D1", total=16, dim=2, pad=2, seeds=(0,))
    return X[0], labels, y


def test_padding_with_zero_columns_leaves_the_solution_alone(plane):
    X, labels, y = plane
    padded, _, _ = experiment.make("D1", total=16, dim=2, pad=5, seeds=(0,))
    found = [
        experiment.solve_each(x, labels, y, 2, config=CONFIG, source="theory")
        for x in (X[None], padded)
    ]
    assert all(one["converged"].all() for one in found)
    for name in ("nc1", "spike", "rest"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-5)
    np.testing.assert_allclose(found[1]["sigma"][0, 2:, 2:], np.eye(3) / 5, atol=1e-12)
    # without the stretch the padded inputs are other data
    other = padded * np.sqrt(2 / 5)
    wrong = experiment.solve_each(other, labels, y, 2, config=CONFIG, source="theory")
    assert abs(wrong["nc1"] - found[0]["nc1"]).max() > 0.01


def test_a_solution_is_reported_as_numpy_would_compute_it(plane):
    X, labels, y = plane
    row = experiment.solve_each(X[None], labels, y, 2, config=CONFIG, source="theory")
    solution = eos.solve(X, y, width=100.0)
    values = np.linalg.eigvalsh(2 * np.asarray(solution.sigma))
    assert row["spike"][0] + row["rest"][0] == pytest.approx(values.sum(), rel=1e-6)
    assert row["spike"][0] > 1 > row["rest"][0]
    ratio = metrics.kernel_nc1(solution.kernel, labels, num_classes=2).ratio
    assert row["nc1"][0] == pytest.approx(float(jnp.log10(ratio)), abs=1e-6)
    at_rest = experiment.solve_each(
        X[None], labels, y, 2, config=CONFIG, source="theory", width=np.array([1e15])
    )
    assert at_rest["spike"][0] == pytest.approx(1, abs=1e-6)


def test_what_did_not_converge_has_no_nc1(plane, monkeypatch):
    X, labels, y = plane
    whole = eos.solve
    monkeypatch.setattr(eos, "solve", lambda *a, **k: whole(*a, **{**k, "max_steps": 1}))
    row = experiment.solve_each(X[None], labels, y, 2, config=CONFIG, source="theory")
    assert not row["converged"][0]
    assert np.isnan(row["nc1"][0])


def test_sets_have_their_sizes_and_targets():
    _, labels, y = experiment.make("imbalanced", total=32, dim=1, pad=1, seeds=(0, 1))
    assert np.bincount(labels).tolist() == [4, 28]
    assert y[0] == -1
    X, labels, y = experiment.make("four classes", total=8, dim=1, pad=3, seeds=(0, 1))
    assert y.tolist() == [-3, -3, -1, -1, 1, 1, 3, 3]
    assert X.shape == (2, 8, 3)
    assert not X[..., 1:].any()


def test_the_textbook_variant_is_the_solution_and_the_others_are_not(plane):
    X, _, y = plane
    own = eos.solve(X, y, width=100.0, noise_var=1e-2).sigma
    found = {
        name: _mean_field.altered_covariance(X, y, variant=name, width=100.0, noise=1e-2)
        for name in _mean_field.VARIANTS
    }
    np.testing.assert_allclose(found["theory"], own, rtol=1e-4, atol=1e-6)
    assert found["theory"].sum() > 1.2
    assert found["wrong sign"].sum() < 0.95
    for name in ("power -2", "power 2"):
        assert abs(found[name].sum() - 1) < 0.02


def test_central_differences_agree_with_the_minus_sign_only():
    minus, plus = _mean_field.gradient_errors(jax.random.key(0), count=2)
    assert minus.max() < 1e-6
    assert plus.min() > 1e-3


def test_mean_field_at_infinite_width_is_the_prior_and_to_first_order_the_equations(plane):
    X, _, y = plane
    sigma, Q, fine = _mean_field.mean_field(X, y, 1e12, 1e-2)
    assert bool(fine)
    np.testing.assert_allclose(sigma, np.eye(2) / 2, atol=1e-6)
    np.testing.assert_allclose(Q, erf.kernel(jnp.eye(2) / 2, X), atol=1e-6)
    drift = []
    for width in (2e4, 4e4):
        sigma, _, fine = _mean_field.mean_field(X, y, width, 1e-2)
        assert bool(fine)
        same = eos.solve(X, y, width=width, noise_var=1e-2, tol=1e-10).sigma
        drift.append((float(sigma.sum()) - 1, float(same.sum()) - 1))
    for own, other in drift:
        assert own == pytest.approx(other, rel=0.01)
    assert drift[0][0] == pytest.approx(2 * drift[1][0], rel=0.02)


def test_mean_field_solves_its_own_equation_by_another_quadrature(plane):
    X, _, y = map(np.asarray, plane)
    sigma, Q, fine = _mean_field.mean_field(jnp.asarray(X), jnp.asarray(y), 50.0, 1e-2)
    assert bool(fine)
    by_hand = oracles.mean_field_moments(np.asarray(Q), X, y, width=50.0, noise=1e-2)
    np.testing.assert_allclose(by_hand[0], sigma, rtol=2e-3)
    np.testing.assert_allclose(by_hand[1], Q, rtol=5e-3, atol=1e-6)
    prior = oracles.mean_field_moments(np.asarray(Q), X, y, width=1e12, noise=1e-2)
    assert np.abs(prior[0] - np.asarray(sigma)).max() > 0.05
    with pytest.raises(ValueError, match="3 columns"):
        _mean_field.mean_field(jnp.ones((4, 3)), jnp.ones(4), 50.0, 1e-2)


def test_the_published_recipe_reaches_its_own_tolerance(plane):
    X, _, y = plane
    config = experiment.Config("settings", (0,), (16,), (2,), widths=(50_000.0,))
    residual = experiment.published_recipe(X, y, config=config)
    assert 1e-8 < residual < 1e-2


def test_small_networks_are_trained_and_sampled():
    small = eos_networks.Config("trained", (0, 1), (8,), (2,), widths=(16,), epochs=2)
    ds = eos_networks.run(small)
    assert dict(ds.sizes) == {"N": 1, "d0": 1, "repeat": 2}
    assert np.isfinite(ds.network).all()
    few = eos_networks.Config(
        "sampled", points=((8, 2, 20),), burn_in=5, keep=20, chains=2, leapfrog=2, ladder=(50, 100)
    )
    ds = eos_networks.run(few)
    assert all(np.isfinite(ds[name]).all() for name in ds.data_vars)
    assert (ds.nc1_error > 0).all()


def test_every_cell_has_settings_and_others_are_refused():
    for module in (experiment, eos_networks):
        for cell in module.CELLS:
            assert {module.Config.at(cell, s).cell for s in ("smoke", "quick", "paper")} == {cell}
        with pytest.raises(ValueError, match="no cell 'fig9'"):
            module.Config.at("fig9", "quick")
    paper = experiment.Config.at("figure4", "paper")
    assert (paper.totals, paper.dims) == ((128, 256, 512, 1024), (1, 2, 8, 32, 128))
    assert (paper.widths, paper.noises, len(paper.seeds)) == ((2000.0, 500.0), (1e-6,), 10)
    assert len(experiment.ANNEALING) == 24
