"""The Equations of State at the paper's settings: padding, masks, sets, the published solver."""

import jax.numpy as jnp
import numpy as np
import pytest

from ncutils import eos, experiments, metrics
from ncutils.experiments.kothapalli2025 import equations_of_state as experiment


@pytest.fixture(scope="module")
def plane():
    X, labels, y = experiment.make("D1", total=16, dim=2, pad=2, seeds=(0,))
    return X[0], labels, y


def test_padding_with_zero_columns_leaves_the_solution_alone(plane):
    X, labels, y = plane
    padded, _, _ = experiment.make("D1", total=16, dim=2, pad=5, seeds=(0,))
    found = [experiment.solve_each(x, labels, y, 2, width=100.0) for x in (X[None], padded)]
    assert all(one["converged"].all() for one in found)
    for name in ("nc1", "spike", "rest"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-5)
    np.testing.assert_allclose(found[1]["sigma"][0, 2:, 2:], np.eye(3) / 5, atol=1e-12)
    # without the stretch the padded inputs are other data
    other = padded * np.sqrt(2 / 5)
    wrong = experiment.solve_each(other, labels, y, 2, width=100.0)
    assert abs(wrong["nc1"] - found[0]["nc1"]).max() > 0.01


def test_a_solution_is_reported_as_numpy_would_compute_it(plane):
    X, labels, y = plane
    row = experiment.solve_each(X[None], labels, y, 2, width=100.0)
    solution = eos.solve(X, y, width=100.0)
    values = np.linalg.eigvalsh(2 * np.asarray(solution.sigma))
    assert row["spike"][0] + row["rest"][0] == pytest.approx(values.sum(), rel=1e-6)
    assert row["spike"][0] > 1 > row["rest"][0]
    ratio = metrics.kernel_nc1(solution.kernel, labels, num_classes=2).ratio
    assert row["nc1"][0] == pytest.approx(float(jnp.log10(ratio)), abs=1e-6)
    at_rest = experiment.solve_each(X[None], labels, y, 2, width=1e15)
    assert at_rest["spike"][0] == pytest.approx(1, abs=1e-6)


def test_what_did_not_converge_has_no_nc1(plane, monkeypatch):
    X, labels, y = plane
    whole = eos.solve
    monkeypatch.setattr(eos, "solve", lambda *a, **k: whole(*a, **{**k, "max_steps": 1}))
    row = experiment.solve_each(X[None], labels, y, 2, width=100.0)
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


def test_the_published_recipe_reaches_its_own_tolerance(plane):
    X, _, y = plane
    residual = experiment.published_recipe(X, y, width=50_000.0)
    assert 1e-8 < residual < 1e-2


def test_paper_scale_has_the_published_settings():
    paper = experiments.config_of("kothapalli2025/equations_of_state/figure4", scale="paper")
    assert (paper.totals, paper.dims) == ((128, 256, 512, 1024), (1, 2, 8, 32, 128))
    assert (paper.widths, len(paper.seeds)) == ((2000.0, 500.0), 10)
    assert experiment.NOISE == 1e-6
    assert len(experiment.ANNEALING) == 24


def test_small_grids_have_both_sources_and_say_how_flat_the_free_energy_may_be():
    ds = experiment.figure4(
        experiment.Figure4(seeds=(0, 1), totals=(16,), dims=(2,), widths=(200.0, 100.0))
    )
    assert ds.nc1.dims == ("source", "width", "N", "d0", "repeat")
    assert ds.nc1.sel(source="theory").notnull().all()
    assert (ds.nc1 < ds.nngp).sel(source="theory").all()
    assert ds.attrs["reference_rtol"] == experiment.FLAT
