"""How results on trained networks and their kernels are read."""

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.stats import spearmanr

from ncutils.experiments.seleznova2023 import reading

Y = np.repeat(np.arange(10), 3)


def kernels(*matrices):
    return xr.DataArray(np.stack(matrices), dims=("run", "sample", "sample2"))


def block(diag, within, across):
    same = Y[:, None] == Y[None, :]
    K = np.where(same, within, across).astype(float)
    np.fill_diagonal(K, diag)
    return K


def test_a_block_kernel_has_its_three_values_and_nothing_unexplained():
    traced = kernels(block(5.0, 2.0, 0.5), block(3.0, 1.0, 0.25))
    assert np.array_equal(reading.labels(traced), Y)
    np.testing.assert_allclose(reading.block_values(traced, Y), [[5, 2, 0.5], [3, 1, 0.25]])
    np.testing.assert_allclose(reading.unexplained(traced, Y), 0, atol=1e-12)
    dealt = reading.dealt(Y)
    assert sorted(dealt) == sorted(Y)
    assert np.all(reading.unexplained(traced, dealt) > 0.9)
    assert np.all(reading.block_values(traced, dealt).sel(value="within") < 1.0)


def test_entries_that_differ_at_random_within_blocks_are_left_unexplained():
    noise = np.random.default_rng(0).normal(size=(30, 30)) * 0.6
    found = reading.unexplained(kernels(block(5.0, 2.0, 0.5) + noise), Y)
    # blocks: a share 2/29 of pairs lies 1.5 higher; noise: variance 0.36
    between = 1.5**2 * (2 / 29) * (27 / 29)
    assert found[0] == pytest.approx(0.36 / (0.36 + between), rel=0.1)


def test_alignment_is_one_for_the_labels_and_less_for_others():
    traced = kernels(block(2.0, 2.0, 0.0), np.eye(30))
    np.testing.assert_allclose(reading.alignment(traced, Y), [1, 1 / np.sqrt(3)])
    assert reading.alignment(traced, reading.dealt(Y))[0] < 0.6


def test_component_ratios_leave_out_the_diagonal_and_the_dead_and_keep_runs_without_norms():
    norms = np.array([[[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.full((3, 3), np.nan)])
    found = reading.component_ratio(xr.DataArray(norms, dims=("run", "k", "s"))).values
    assert found[0, 0, 1] == found[0, 1, 0] == 0.5
    assert np.isfinite(found).sum() == 2


@pytest.fixture
def fit():
    nc1 = np.array([[1.0, 0.5], [1.0, 0.1], [1.0, 0.3], [1.0, 0.01]])
    norms = np.ones((4, 2, 2))
    norms[3] = np.nan
    return xr.Dataset(
        {"nc1": (("run", "epoch"), nc1), "norms_outputs": (("run", "k", "s"), norms)},
        {
            "init": ("run", ["a", "a", "b", "a"]),
            "learning_rate": ("run", [1.0, 2.0, 1.0, 2.0]),
            "seed": ("run", [0, 0, 0, 1]),
        },
    )


def test_examples_are_the_extremes_among_runs_with_components(fit):
    most, least = (reading.examples(fit).isel(run=k) for k in range(2))
    assert float(most.nc1[-1]) == 0.1
    assert float(least.nc1[-1]) == 0.5
    without = fit.assign(norms_outputs=fit.norms_outputs * np.nan)
    assert float(reading.examples(without).nc1[0, -1]) == 0.01


def test_spread_over_seeds_is_that_of_each_seeds_worst(fit):
    found = reading.worst_over_seeds([fit, fit], [[3.0, 1.0, 2.0, 4.0], [5.0, 5.0, 5.0, 2.0]])
    assert found == pytest.approx(np.std([1.0, 2.0], ddof=1))
    assert np.isnan(reading.worst_over_seeds([fit.isel(run=[0])], [[1.0]]))


def readings():
    """Six runs of three settings at three epochs; the last one never fits, one diverged."""
    accuracy = [[0, 1, 1], [0, 0.5, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0.5], [0, 0, 0]]
    nc1 = np.arange(18.0).reshape(6, 3)
    nc1[5] = np.nan
    coords = {
        "init": ("run", ["a"] * 4 + ["b"] * 2),
        "learning_rate": ("run", [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]),
        "seed": ("run", [0, 1] * 3),
        "diverged": ("run", [False] * 5 + [True]),
        "epoch": [0, 5, 9],
    }
    grid = ("run", "epoch")
    both = {"train_accuracy": (grid, np.array(accuracy, float)), "nc1": (grid, nc1)}
    return xr.Dataset({**both, "test_accuracy": (grid, np.tile(nc1[:, :1] / 20, 3))}, coords)


def test_runs_count_from_the_epoch_at_which_they_fit():
    ds = readings()
    counted = reading.fitted(ds)
    assert counted.nc1.isel(epoch=-1).values.tolist() == [2, 5, 8, 11]
    assert reading.at_fit(counted).nc1.values.tolist() == [1, 5, 7, 11]
    assert reading.fitted(ds, accuracy=2.0).sizes["run"] == 5  # none fits: all that are left
    assert reading.top(counted, margin=0.2).nc1.isel(epoch=0).values.tolist() == [6, 9]
    left = reading.beyond_setting(ds, np.arange(6.0))
    assert left.tolist() == [-0.5, 0.5] * 3
    assert np.isnan(reading.beyond_setting(ds.isel(run=[0, 2]), [1.0, 2.0])).all()


def rank_correlation_by_hand(a, b):
    """Pearson's correlation of mean ranks among equals."""
    ranks = [(v[:, None] > v).sum(axis=1) + 0.5 * (v[:, None] == v).sum(axis=1) for v in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


def test_rank_correlation_is_spearmans_with_ties(key):
    a = np.round(np.asarray(jax.random.normal(key, (30,))), 1)
    b = np.round(a + np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (30,))), 1)
    found = reading.rank_correlation(a, b)
    np.testing.assert_allclose(found, rank_correlation_by_hand(a, b), rtol=1e-12)
    np.testing.assert_allclose(found, spearmanr(a, b)[0], rtol=1e-12)
    assert reading.rank_correlation(a, np.exp(a)) == pytest.approx(1.0)
    assert np.isnan(reading.rank_correlation(a, np.ones(30)))
    assert 0.25 < reading.by_chance(a, b) < 0.5  # 1.96 / sqrt(29) = 0.36
    by_seed = reading.over_seeds(reading.fitted(readings()), "nc1", "train_accuracy")
    assert np.isnan(by_seed)  # two runs a seed say nothing


def test_two_variables_together_are_told_with_sign_and_spread():
    ds = readings().isel(epoch=-1, run=slice(0, 5))
    found = reading.together(ds, "nc1", "train_accuracy", sign=-1)
    assert found["value"] == reading.rank_correlation(ds.nc1, ds.train_accuracy)
    assert found["control"] == -reading.by_chance(ds.nc1, ds.train_accuracy) < 0
    assert np.isnan(found["spread"])
