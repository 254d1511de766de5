"""The panes of P2's figures: every run is drawn, and where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from ncutils.figures import seleznova2023


@pytest.fixture
def runs():
    """Two inits, two rates, two seeds; the last run diverged, the one before learnt nothing."""
    grid = ("run", "epoch")
    values = np.arange(1.0, 17).reshape(8, 2)
    rates = [1.0, 1.0, 2.0, 2.0] * 2
    coords = {
        "epoch": [0, 5],
        "init": ("run", ["uniform"] * 4 + ["he_normal"] * 4),
        "learning_rate": ("run", rates),
        "seed": ("run", [0, 1] * 4),
        "diverged": ("run", [False] * 7 + [True]),
    }
    names = ("nc1", "nc2", "nc3", "invariant_norm", "invariant_alignment", "norm_means")
    names += ("norm_within", "norm_global", "alignment_outputs", "alignment_features")
    ds = xr.Dataset({name: (grid, values.copy()) for name in names}, coords)
    ds["nc1"][7, 1] = np.nan
    ds["train_accuracy"] = (grid, np.tile([0.1, 1.0], (8, 1)))
    ds["test_accuracy"] = (grid, np.tile([[0.1, 0.9]], (8, 1)))
    ds["test_accuracy"][6, 1] = 0.2
    yield ds
    plt.close("all")


def test_each_init_is_shown_at_its_extreme_rates(runs):
    kept = runs.isel(run=slice(0, 7))
    assert seleznova2023.extreme_settings(kept, "uniform") == (1.0, 2.0)
    kept = kept.assign(nc1=1 / kept.nc1)
    assert seleznova2023.extreme_settings(kept, "uniform") == (2.0, 1.0)
    axes = plt.subplots(1, 5)[1]
    seleznova2023.along_training(axes, runs.isel(run=slice(0, 7)))
    labels = [line.get_label() for line in axes[2].get_lines() if "η" in str(line.get_label())]
    assert labels == [f"{init}, η = {r}" for init in ("uniform", "He normal") for r in (1, 2)]
    assert axes[2].get_lines()[0].get_ydata().tolist() == [2.0, 3.0]  # mean over the two seeds
    fits = [line for line in axes[2].get_lines() if list(line.get_xdata()) == [6, 6]]
    assert len(fits) == 4


def test_no_run_is_lost_between_points_edge_and_crosses(runs):
    axes = plt.subplots(1, 3)[1]
    seleznova2023.against_accuracy(axes, runs, lowest=0.5)
    points = sum(len(group.get_offsets()) for group in axes[0].collections)
    lines = [line for line in axes[0].get_lines() if len(line.get_xdata())]
    marks = [line.get_marker() for line in lines]
    assert (points, marks.count("<"), marks.count("x")) == (6, 1, 1)
    edge = next(line for line in lines if line.get_marker() == "<")
    assert (float(edge.get_xdata()[0]), float(edge.get_ydata()[0])) == (0.5, 14.0)


def test_ends_and_scatters_show_the_last_epoch(runs):
    axes = plt.subplots(1, 2)[1]
    seleznova2023.at_the_end(axes, runs.isel(run=slice(0, 6)))
    assert [len(group.get_offsets()) for group in axes[0].collections] == [6, 6, 6]
    assert axes[1].collections[0].get_offsets()[0].tolist() == [2.0, 2.0]
    ax = plt.subplots()[1]
    last = runs.isel(epoch=-1, run=slice(0, 4))
    seleznova2023.scatter(ax, last.nc1, last.nc2, labels=True)
    assert len(ax.collections) == 1
    assert sorted(set(ax.collections[0].get_sizes())) == [10, 24]


def test_kernels_are_drawn_as_shares_of_their_largest_entry_with_lines_between_classes():
    K = np.arange(16.0).reshape(4, 4)
    names = {"traced_outputs": "sample", "traced_features": "sample"}
    names |= {"norms_outputs": "k", "norms_features": "neuron"}
    pair = xr.Dataset(
        {name: (("run", of, f"{of}2"), np.stack([K, 2 * K])) for name, of in names.items()}
    )
    fig = seleznova2023.kernel_pictures(pair, num_classes=2)
    panes = [ax for ax in fig.axes if ax.get_images()]
    assert len(panes) == 8
    for ax in panes:
        np.testing.assert_allclose(ax.get_images()[0].get_array(), K / 15)
    lines = [len(ax.get_lines()) + len(ax.collections) for ax in panes]
    assert lines[0] == lines[1] > lines[2]
    assert [panes[0].get_ylabel(), panes[4].get_ylabel()] == ["collapses", "does not"]


def test_kernels_along_training_are_means_over_the_runs_of_two_settings(runs):
    fit = runs.isel(run=slice(0, 4))
    names = ("gamma_c", "gamma_n", "kappa_c", "kappa_n")
    fit = fit.assign({name: fit.nc1 * (2 if name.endswith("_c") else 1) for name in names})
    share = xr.DataArray([0.1, 0.2], dims="run", coords={"nc1": ("run", [1.0, 2.0])})
    fig = seleznova2023.kernels_along(fit, fit.isel(run=[0, 2]), [share])
    contrast, aligned = fig.axes[0].get_lines(), fig.axes[1].get_lines()
    assert [line.get_ydata().tolist() for line in contrast] == [[2.0, 2.0]] * 4
    assert aligned[0].get_ydata().tolist() == [2.0, 3.0]  # runs 0 and 1, of one setting
    assert aligned[2].get_ydata().tolist() == [6.0, 7.0]  # runs 2 and 3, of the other
    assert fig.axes[2].collections[0].get_offsets().tolist() == [[1.0, 0.1], [2.0, 0.2]]
