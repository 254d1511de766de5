"""The figure of the toy paper."""

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from ncutils.figures.style import COLOURS, curves, style


def drift(ds: xr.Dataset) -> Figure:
    """NC1 against the distance of the means: `nc1` (repeat, distance)."""
    with style():
        fig, ax = plt.subplots()
        curves(ax, ds["nc1"], x="distance", color=COLOURS["data"])
        ax.set_xlabel("distance of the means")
        ax.set_ylabel(r"$\mathcal{NC}_1$")
    return fig
