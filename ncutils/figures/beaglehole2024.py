"""The panes of P3's figures on the layers of perceptrons, from a labelled data set alone.

A data set has the variables that `experiments.weights_and_agop` makes, for one setting:
over repeat, epoch and layer, and `nc1` over stage as well.
"""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ncutils import figures

STAGES = {
    "input": ("nngp", r"$\Phi$"),
    "right": ("eos", r"$SV^\top\Phi$"),
    "output": ("ntk", r"$\mathrm{ReLU}(W\Phi)$"),
}
#: Squared error, per entry, of predicting the mean of ten classes' labels ±1.
PLATEAU = 0.36


def split_by_layer(axes: Iterable[Axes], ds: xr.Dataset, *, captions: bool = True) -> None:
    r"""One pane a layer: log NC1 of what enters it, after $S V^\top$, and after all of it.

    Args:
        axes: as many as layers.
        ds: the data set.
        captions: whether to name layers, the horizontal axis and the curves.
    """
    axes = list(axes)
    for ax, layer in zip(axes, ds.layer.values, strict=True):
        for stage, (colour, label) in STAGES.items():
            drawn = np.log10(ds.nc1.sel(layer=layer, stage=stage))
            figures.curves(ax, drawn, x="epoch", label=label, color=figures.COLOURS[colour])
        if captions:
            ax.set(title=f"layer {layer}", xlabel="epoch")
    axes[0].set_ylabel(r"$\log_{10}\,\mathcal{NC}_1$")
    if captions:
        axes[0].legend(loc="lower left")


def along_training(axes: Iterable[Axes], ds: xr.Dataset, *, captions: bool = True) -> None:
    """Three panes: shares of the variance, correlations by layer, log loss.

    Args:
        axes: three of them.
        ds: the data set.
        captions: whether to title the panes and to name the curves.
    """
    left, middle, right = axes
    for part, colour in (("within", "ntk"), ("between", "nngp")):
        drawn = ds.shares.sel(part=part)
        figures.curves(left, drawn, x="epoch", label=part, color=figures.COLOURS[colour])
    tints = figures.shades(figures.COLOURS["network"], ds.sizes["layer"])
    for layer, tint in zip(ds.layer.values, tints, strict=True):
        drawn = ds.nfa.sel(layer=layer)
        figures.curves(middle, drawn, x="epoch", label=f"layer {layer}", color=tint)
    grey = figures.COLOURS["data"]
    chance = {"label": "random basis", "color": grey, "linestyle": "--"}
    figures.curves(middle, ds.chance.mean("layer"), x="epoch", **chance)
    middle.set_ylim(-0.02, 1.02)
    figures.curves(right, np.log10(ds.loss), x="epoch", color=grey)
    right.axhline(np.log10(PLATEAU), color=figures.COLOURS["released"], linestyle=":")
    for ax in (left, middle, right):
        ax.set_xlabel("epoch")
    if captions:
        left.set_title("share of the variance, last layer")
        middle.set_title("correlation")
        right.set_title(r"$\log_{10}$ training loss")
        left.legend()
        middle.legend(fontsize="small", ncols=2)
