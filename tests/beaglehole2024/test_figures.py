"""The panes of P3's figures on layers: each curve is where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from ncutils.figures import beaglehole2024


@pytest.fixture
def ds():
    """Two layers, two repeats, three epochs; every number another one."""
    over = ("repeat", "epoch")
    values = lambda *more: np.arange(1.0, 1 + 6 * np.prod(more)).reshape(2, 3, *more)  # noqa: E731
    yield xr.Dataset(
        {
            "nc1": ((*over, "layer", "stage"), values(2, 3)),
            "shares": ((*over, "part"), values(2) / 20),
            "nfa": ((*over, "layer"), values(2) / 20),
            "chance": ((*over, "layer"), values(2) / 40),
            "loss": (over, values()),
        },
        coords={
            "epoch": [0, 5, 9],
            "layer": [1, 2],
            "stage": ["input", "right", "output"],
            "part": ["within", "between"],
        },
    )
    plt.close("all")


def test_a_pane_splits_the_layer_that_it_names(ds):
    axes = plt.subplots(1, 2)[1]
    beaglehole2024.split_by_layer(axes, np.log10(ds.nc1))
    assert [ax.get_title() for ax in axes] == ["layer 1", "layer 2"]
    second = axes[1].get_lines()[2]
    expected = np.log10(ds.nc1.sel(layer=2, stage="output")).mean("repeat")
    np.testing.assert_allclose(second.get_ydata(), expected)
    assert second.get_xdata().tolist() == [0, 5, 9]
    other = plt.subplots(1, 2)[1]
    beaglehole2024.split_by_layer(other, np.log10(ds.nc1), captions=False)
    assert (other[0].get_title(), other[0].get_legend()) == ("", None)
    with pytest.raises(ValueError, match="zip"):
        beaglehole2024.split_by_layer(plt.subplots(1, 3)[1], np.log10(ds.nc1))


def test_shares_correlations_and_loss_have_a_pane_each(ds):
    axes = plt.subplots(1, 3)[1]
    beaglehole2024.along_training(axes, ds)
    shown = [[line.get_label() for line in ax.get_lines()] for ax in axes[:2]]
    assert shown == [["within", "between"], ["layer 1", "layer 2", "random basis"]]
    between = axes[0].get_lines()[1].get_ydata()
    np.testing.assert_allclose(between, ds.shares.sel(part="between").mean("repeat"))
    curve, plateau = axes[2].get_lines()
    np.testing.assert_allclose(curve.get_ydata(), np.log10(ds.loss).mean("repeat"))
    # labels are 1 once and -1 nine times: their variance
    assert plateau.get_ydata()[0] == pytest.approx(np.log10(np.var([1] + 9 * [-1])))
