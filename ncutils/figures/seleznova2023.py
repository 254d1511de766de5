"""The panes of P2's figures on trained networks, from a labelled data set alone.

A data set has runs with coordinates `init`, `learning_rate`, `seed` and `diverged`, and
variables over run and epoch, as `experiments.block_ntk_networks` makes them.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from ncutils import figures

INITS = {
    "lecun_normal": ("LeCun normal", figures.COLOURS["nngp"], "o"),
    "uniform": ("uniform", figures.COLOURS["released"], "s"),
    "he_normal": ("He normal", figures.COLOURS["eos"], "^"),
    "pytorch": ("PyTorch", figures.COLOURS["network"], "D"),
}
TITLES = {
    "invariant_norm": r"a) $\|mE\|_F$",
    "invariant_alignment": "b) alignment of the invariant",
    "nc1": "c) NC1",
    "nc2": "d) NC2",
    "nc3": "e) NC3",
}
#: The arrays that `kernel_pictures` shows, and their titles.
PICTURES = {
    "traced_outputs": r"traced $\Theta$",
    "traced_features": r"traced $\Theta^h$",
    "norms_outputs": r"$\Vert\Theta_{k,s}\Vert$",
    "norms_features": r"$\Vert\Theta^h_{k,s}\Vert$",
}
#: The arrays that `whole_end` shows, at their last epoch.
AT_THE_END = [
    *("test_accuracy", "nc1", "nc2", "nc3", "norm_means", "norm_within", "norm_global"),
    *("alignment_outputs", "alignment_features", "invariant_alignment"),
]


def plain_log(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 times a power of ten where there is room, written as numbers."""
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high < 30 * low else (1.0,)
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def extreme_settings(fitted: xr.Dataset, init: str) -> tuple[float, float]:
    """The learning rates with the smallest and the largest mean NC1 at the end, of one init."""
    ends = fitted.nc1.isel(epoch=-1, run=np.flatnonzero(fitted.init == init))
    means = ends.groupby("learning_rate").mean()
    return float(means.idxmin("learning_rate")), float(means.idxmax("learning_rate"))


def along_training(axes: Iterable[Axes], fitted: xr.Dataset, *, fit: float = 0.99) -> None:
    """Panes a–e: for each init the setting that collapses most, and that which does least.

    Lines are means over seeds, bands one standard deviation; a thin vertical line marks
    the first epoch at which all seeds of a setting fit their training set.

    Args:
        axes: five of them.
        fitted: runs that did not diverge.
        fit: the training accuracy that counts as fitting.
    """
    axes = list(axes)
    for init in dict.fromkeys(fitted.init.values.tolist()):
        label, colour, _ = INITS[init]
        for rate, line in zip(extreme_settings(fitted, init), ("-", "--"), strict=True):
            chosen = (fitted.init == init) & (fitted.learning_rate == rate)
            runs = fitted.isel(run=np.flatnonzero(chosen)).assign_coords(epoch=fitted.epoch + 1)
            reached = (runs.train_accuracy >= fit).all("run")
            for ax, name in zip(axes, TITLES, strict=True):
                figures.curves(
                    ax,
                    runs[name],
                    x="epoch",
                    spread="run",
                    label=f"{label}, η = {rate:.2g}",
                    color=colour,
                    linestyle=line,
                    markersize=3,
                )
                if reached.any():
                    ax.axvline(float(reached.epoch[reached][0]), color=colour, lw=0.6, ls=line)
    for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
        ax.set(title=title, xscale="log", xlabel="epoch + 1")
        if name in ("nc1", "invariant_norm"):
            ax.set_yscale("log")
            plain_log(ax.yaxis)


def scatter(ax: Axes, x: xr.DataArray, y: xr.DataArray, *, labels: bool = False) -> None:
    """One point a run: form and colour for the init, size for the learning rate."""
    rates = np.unique(x.learning_rate)
    for init, (label, colour, marker) in INITS.items():
        rows = np.flatnonzero(x.init == init)
        if rows.size:
            size = 10 + 14 * np.searchsorted(rates, x.learning_rate[rows])
            style = {"color": colour, "marker": marker, "alpha": 0.75, "linewidths": 0}
            ax.scatter(x[rows], y[rows], s=size, label=label if labels else None, **style)


def against_accuracy(axes: Iterable[Axes], ds: xr.Dataset, *, lowest: float) -> None:
    """Panes f–h: NC1 to NC3 against the test accuracy at the end, for all runs.

    Args:
        axes: three of them.
        ds: all runs; one that diverged, or has no NC1, is a cross at the left edge, and one
            below `lowest` an open mark there, so that none is lost.
        lowest: the accuracy at which the axis begins.
    """
    axes = list(axes)
    last = ds.isel(epoch=-1)
    lost = ds.diverged | last.nc1.isnull()
    below = (last.test_accuracy < lowest) & ~lost
    for ax, name, letter in zip(axes, ("nc1", "nc2", "nc3"), "fgh", strict=True):
        shown = last.isel(run=np.flatnonzero(~lost & ~below))
        scatter(ax, shown.test_accuracy, shown[name], labels=name == "nc1")
        for row in np.flatnonzero(below):
            colour = INITS[str(last.init[row].item())][1]
            ax.plot(lowest, last[name][row], "<", mfc="none", mec=colour, ms=5, clip_on=False)
        for place, row in enumerate(np.flatnonzero(lost)):
            colour = INITS[str(last.init[row].item())][1]
            ax.plot(0.04 + 0.05 * place, 0.96, "x", color=colour, transform=ax.transAxes)
        highest = float(last.test_accuracy.max()) + 0.01
        ax.set(title=f"{letter}) {name.upper()}", xlabel="test accuracy", xlim=(lowest, highest))
        if name == "nc1":
            ax.set_yscale("log")
            plain_log(ax.yaxis)
    if lost.any():
        axes[0].plot([], [], "x", color="0.4", label="diverged")
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="lower left", fontsize="x-small")


def at_the_end(axes: Iterable[Axes], fitted: xr.Dataset) -> None:
    """Panes i and j: sizes of the invariant's terms, and alignment of both kernels, against NC1."""
    axes = list(axes)
    last = fitted.isel(epoch=-1)
    names = {"norm_means": "class means", "norm_within": "within", "norm_global": "global mean"}
    looks = (figures.COLOURS[c] for c in ("nngp", "ntk", "data"))
    for (name, label), colour in zip(names.items(), looks, strict=True):
        axes[0].scatter(last.nc1, last[name], s=14, color=colour, label=label, linewidths=0)
    looks = (figures.COLOURS[c] for c in ("network", "theory"))
    for name, label, colour in zip(
        ("alignment_outputs", "alignment_features"),
        (r"$\Theta$", r"$\Theta^h$"),
        looks,
        strict=True,
    ):
        axes[1].scatter(last.nc1, last[name], s=14, color=colour, label=label, linewidths=0)
    axes[0].set(title="i) terms of the invariant", xscale="log", yscale="log", xlabel="NC1")
    axes[1].set(title="j) alignment with the labels", xscale="log", xlabel="NC1")
    plain_log(axes[0].yaxis)
    for ax in axes:
        plain_log(ax.xaxis)
        ax.legend(loc="best", fontsize="x-small")


def whole_end(runs: xr.Dataset, fit: xr.Dataset, *, lowest: float) -> Figure:
    """Panes f to j of P2's Fig. 2, and the alignment of the invariant against NC1.

    Args:
        runs: all runs. fit: those that fit. lowest: test accuracy at which the axes begin.

    Returns:
        The figure; the arrays it shows are `AT_THE_END` of `runs`.
    """
    fig, axes = plt.subplots(2, 3, figsize=(9.6, 5.8))
    against_accuracy(axes[0], runs, lowest=lowest)
    at_the_end(axes[1, :2], fit)
    end = fit.isel(epoch=-1)
    scatter(axes[1, 2], end.nc1, end.invariant_alignment)
    axes[1, 2].set(title="alignment of the invariant", xscale="log", xlabel="NC1")
    plain_log(axes[1, 2].xaxis)
    return fig


def kernel_pictures(pair: xr.Dataset, *, num_classes: int = 10) -> Figure:
    """Fig. 1 a–d of P2 twice: traced kernels and norms of components, as shares of the largest.

    Args:
        pair: two runs, the one that collapses first; the arrays `PICTURES`, with samples
            sorted by class and equally many of each.
        num_classes: C.

    Returns:
        The figure, a row for each run; lines part the classes.

    Source: P2, Figs 1 and 13–20.
    """
    fig, axes = plt.subplots(2, 4, figsize=(10.4, 5.2), layout="constrained")
    for row, kind in zip(axes, ("collapses", "does not"), strict=True):
        row[0].set_ylabel(kind)
    for place, ax in np.ndenumerate(axes):
        name, title = list(PICTURES.items())[place[1]]
        drawn = pair[name][place[0]]
        each = len(drawn) // num_classes
        sizes = [each] * num_classes if name.startswith("traced") else []
        figures.heatmap(ax, drawn / drawn.max(), sizes=sizes, title=title, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    return fig
