"""P2's figures, each a function of the labelled arrays that it shows.

A data set on trained networks has runs with coordinates `init`, `learning_rate`, `seed` and
`diverged`, and variables over run and epoch, as `experiments.seleznova2023.networks` makes them.
"""

from collections.abc import Iterable, Mapping, Sequence

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
#: The arrays that `training` shows.
TRAINING = [*TITLES, "train_accuracy"]
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
    colours = (figures.COLOURS[c] for c in ("nngp", "ntk", "data"))
    for (name, label), colour in zip(names.items(), colours, strict=True):
        axes[0].scatter(last.nc1, last[name], s=14, color=colour, label=label, linewidths=0)
    colours = (figures.COLOURS[c] for c in ("network", "theory"))
    for name, label, colour in zip(
        ("alignment_outputs", "alignment_features"),
        (r"$\Theta$", r"$\Theta^h$"),
        colours,
        strict=True,
    ):
        axes[1].scatter(last.nc1, last[name], s=14, color=colour, label=label, linewidths=0)
    axes[0].set(title="i) terms of the invariant", xscale="log", yscale="log", xlabel="NC1")
    axes[1].set(title="j) alignment with the labels", xscale="log", xlabel="NC1")
    plain_log(axes[0].yaxis)
    for ax in axes:
        plain_log(ax.xaxis)
        ax.legend(loc="best", fontsize="x-small")


@figures.style()
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


@figures.style()
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
        values = pair[name][place[0]]
        each = len(values) // num_classes
        sizes = [each] * num_classes if name.startswith("traced") else []
        figures.heatmap(ax, values / values.max(), sizes=sizes, title=title, vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    return fig


# --- a kernel with three values ---------------------------------------------------------------


@figures.style()
def rates(shown: xr.Dataset) -> Figure:
    """A block kernel, and three parts of the residual under gradient descent with their laws.

    Args:
        shown: `matrix` of four classes (i × j), `size_of_part` (repeat × part × step), `law`
            (part × step), `eigenvalue` (part).
    """
    colours = {"global": "eos", "class": "nngp", "sample": "ntk"}
    words = {
        "global": "mean of all samples",
        "class": "class means, less that",
        "sample": "samples, less their class",
    }
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.2), width_ratios=[1, 1.45])
    figures.heatmap(
        axes[0],
        shown.matrix,
        sizes=[shown.sizes["i"] // 4] * 4,
        title="the kernel",
        vmin=0,
        cmap="viridis",
    )
    axes[0].set(xlabel="sample", ylabel="sample")
    for part, colour in colours.items():
        relative = shown.size_of_part.sel(part=part) / shown.size_of_part.sel(part=part, step=0)
        axes[1].plot(shown.step, abs(shown.law.sel(part=part)), color=figures.COLOURS[colour])
        axes[1].plot(
            shown.step[::6],
            relative.mean("repeat")[::6],
            marker="o",
            linestyle="none",
            color=figures.COLOURS[colour],
            label=f"{words[part]}, $\\lambda$ = {float(shown.eigenvalue.sel(part=part)):.1f}",
        )
    axes[1].set(yscale="log", ylim=(1e-8, 3), xlabel="step", ylabel="residual, relative to step 0")
    axes[1].legend(loc="lower right")
    return fig


@figures.style()
def elasticity(shown: xr.Dataset, *, num_classes: int = 10) -> Figure:
    """A network's kernel before and after training, and how its locality changes on the way.

    Args:
        shown: `picture` (when × i × j), `values` and `pull` (repeat × epoch × pair).
        num_classes: C; samples are sorted by class.
    """
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.1), width_ratios=[1, 1, 1.3])
    per_class = shown.sizes["i"] // num_classes
    for ax, when in zip(axes, ("before", "after"), strict=False):
        picture = shown.picture.sel(when=when)
        share = picture / float(np.diag(picture).mean())
        sizes = [per_class] * num_classes
        figures.heatmap(ax, share, sizes=sizes, title=f"{when} training", vmin=0, vmax=1)
        ax.set(xlabel="sample", ylabel="sample")
    for name, label, colour, line, marker in (
        ("values", r"$\gamma_n / \gamma_c$", "ntk", "-", "o"),
        ("pull", "measured pull", "network", "--", "s"),
    ):
        ratio = shown[name].sel(pair="other class") / shown[name].sel(pair="same class")
        figures.curves(
            axes[2],
            ratio.assign_coords(epoch=shown.epoch + 1),
            x="epoch",
            label=label,
            color=figures.COLOURS[colour],
            linestyle=line,
            marker=marker,
        )
    axes[2].set(xscale="log", ylim=(0, 1), xlabel="epoch + 1", title="other class / same class")
    axes[2].legend(loc="lower left")
    return fig


# --- the flow under a block kernel ------------------------------------------------------------


@figures.style()
def invariant(shown: xr.Dataset) -> Figure:
    """How far the invariant and wrong versions of it depart from their first value.

    Args:
        shown: `drift_three` (formula × repeat × time) for three kernel values, `drift_matrices`
            (weights × repeat × kind × when) for matrices.
    """
    colours = {"(26)": "nngp", "without α": "ntk", "wrong μ_single": "released"}
    words = {
        "(26)": "$E$ as in the theorem",
        "without α": r"$E$ with $\alpha = 0$",
        "wrong μ_single": r"$E$ with another $\mu_{\mathrm{single}}$",
    }
    kinds = {"three numbers": "eos", "one kernel per neuron": "network", "general matrices": "data"}
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.1), sharey=True)
    for formula, colour in colours.items():
        worst = shown.drift_three.sel(formula=formula).max("repeat")[1:]
        axes[0].plot(
            worst.time,
            worst + 1e-17,
            color=figures.COLOURS[colour],
            label=words[formula],
            marker="o",
        )
    axes[0].set(title="three kernel values", ylabel="departure, relative to $E(0)$")
    for kind, colour in kinds.items():
        for weights, line in (("constants in front", "--"), ("weighted by the kernel", "-")):
            worst = shown.drift_matrices.sel(kind=kind, weights=weights).max("repeat")[1:]
            axes[1].plot(
                worst.when,
                worst + 1e-17,
                linestyle=line,
                color=figures.COLOURS[colour],
                label=kind if line == "-" else None,
            )
    axes[1].set(title="matrices (Appendix D)")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="time", ylim=(1e-17, 10))
        ax.legend(loc="center left")
    return fig


@figures.style()
def collapse(shown: xr.Dataset) -> Figure:
    """NC1, NC2 and NC3 along flows from balanced and from other starts, a line for each.

    Args:
        shown: `balanced` and `generic` (repeat × time × metric).
    """
    fig, axes = plt.subplots(1, 2, figsize=(8.0, 3.0), sharey=True)
    for ax, name, title in zip(
        axes, ("balanced", "generic"), ("$E = O$", "$E$ not $O$"), strict=True
    ):
        for metric, colour in (("nc1", "nngp"), ("nc2", "ntk"), ("nc3", "eos")):
            values = shown[name].sel(metric=metric)
            _lines(ax, values, color=figures.COLOURS[colour], linewidth=1.1, label=metric.upper())
        ax.set(xscale="log", yscale="log", xlabel="time", title=title, ylim=(1e-18, 20))
    axes[0].legend(loc="lower left")
    return fig


def _lines(ax: Axes, values: xr.DataArray, *, label: str, color, linewidth: float) -> None:
    """A line for each repeat from the second time on, and one entry of the legend."""
    later = values.isel(time=slice(1, None))
    ax.plot(later.time, later.transpose("time", "repeat") + 1e-17, color=color, linewidth=linewidth)
    ax.plot([], [], color=color, label=label)


@figures.style()
def saddle(shown: xr.Dataset) -> Figure:
    """Norm of the residual along balanced flows of the right and of the wrong orientation.

    Args:
        shown: `orientation_residual` (oriented × repeat × time), coordinate `per_class`.
    """
    fig, ax = plt.subplots(figsize=(6.0, 2.9))
    for name, colour in (("right", "nngp"), ("wrong", "ntk")):
        values = shown.orientation_residual.sel(oriented=name)
        ax.plot(
            shown.time,
            values.transpose("time", "repeat"),
            color=figures.COLOURS[colour],
            linewidth=1.2,
        )
        ax.plot([], [], color=figures.COLOURS[colour], label=f"{name} orientation")
    level = float(shown.per_class) ** 0.5
    ax.axhline(level, color=figures.COLOURS["theory"], linewidth=1)
    ax.annotate(r"$\sqrt{m}$", (0.06, level + 0.12))
    ax.set(xscale="log", xlim=(0.05, 40), ylim=(0, 8), xlabel="time", ylabel=r"$\Vert R \Vert_F$")
    ax.legend(loc="upper right")
    return fig


@figures.style()
def collapse_map(shown: xr.Dataset) -> Figure:
    """NC1, NC2 and NC3 at the end, over size and alignment of the invariant, for both starts.

    Args:
        shown: `final` (start × size × alignment × repeat × metric).
    """
    fig, axes = plt.subplots(2, 3, figsize=(9.2, 5.0), sharex=True, sharey=True)
    for row, start in zip(axes, shown.start.values, strict=True):
        for ax, metric in zip(row, ("nc1", "nc2", "nc3"), strict=True):
            end = np.log10(shown.final.sel(start=start, metric=metric).mean("repeat") + 1e-17)
            picture = ax.pcolormesh(
                np.log10(shown["size"]),
                shown.alignment,
                end.transpose("alignment", "size"),
                vmin=-6,
                vmax=0,
                shading="nearest",
            )
            ax.grid(visible=False)
            ax.set_title(f"{metric.upper()}, {start}")
    for ax in axes[1]:
        ax.set_xlabel(r"$\log_{10}$ size of $E$")
    for ax in axes[:, 0]:
        ax.set_ylabel("alignment $a$")
    fig.colorbar(picture, ax=axes, shrink=0.8, label=r"$\log_{10}$ metric at the end")
    return fig


@figures.style()
def biases(shown: xr.Dataset) -> Figure:
    """Cosine within both frames against the common bias: ends of flows, and closed forms.

    Args:
        shown: `cosine` (across × bias × frame), `line_law` (across × fine_bias × frame).
    """
    count = shown.sizes["across"]
    fig, axes = plt.subplots(1, count, sharey=True, squeeze=False, figsize=(3.0 * count + 1, 3.0))
    for ax, across in zip(axes[0], shown.across.values, strict=True):
        for frame, colour, marker in (("classifier", "ntk", "o"), ("class means", "nngp", "s")):
            colour, which = figures.COLOURS[colour], {"across": across, "frame": frame}
            ax.plot(shown.fine_bias, shown.line_law.sel(which), color=colour, linewidth=1.2)
            style = {"linestyle": "none", "marker": marker, "color": colour}
            ax.plot(shown.bias, shown.cosine.sel(which), label=frame, **style)
        ax.set(title=rf"$\kappa_n$ = {across:g}", xlabel=r"$C\beta$")
    axes[0, 0].set_ylabel("cosine within the frame")
    axes[0, 0].legend(loc="upper center")
    return fig


# --- beyond balance ---------------------------------------------------------------------------


@figures.style()
def within(shown: xr.Dataset, *, ranks: int = 8) -> Figure:
    """Scatter within classes along flows of four kinds of kernel, and the bound of all classes.

    Args:
        shown: `within` (kind × repeat × start × time).
        ranks: sum of the ranks of the classes' deviations.
    """
    kinds = {
        "three values": "nngp",
        "values by class": "ntk",
        "noisy entries": "eos",
        "label-blind": "released",
    }
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.1), sharey=True)
    for ax, start in zip(axes, shown.start.values, strict=True):
        for kind, colour in kinds.items():
            values = shown.within.sel(kind=kind, start=start)
            _lines(ax, values, color=figures.COLOURS[colour], linewidth=1, label=kind)
        first = float(shown.within.sel(start=start).isel(time=0).max())
        times = np.asarray(shown.time[1:])
        ax.plot(
            times,
            1 / (1 / first + 2 * times / ranks),
            color=figures.COLOURS["theory"],
            linestyle="--",
            label="bound, all classes",
        )
        ax.set(xscale="log", yscale="log", xlabel="time", ylim=(1e-17, 1e3))
    axes[0].set(title="balanced, $E_K = O$", ylabel="scatter within classes")
    axes[1].set(title="random, $E_K$ indefinite")
    axes[0].legend(loc="lower left")
    return fig


@figures.style()
def frames(shown: xr.Dataset) -> Figure:
    """Both frames of three classes in their plane, for class sizes and two kinds of kernel.

    Args:
        shown: `vectors` (sizes × kind × repeat × frame × class × axis); the first repeat is drawn.
    """
    columns = [str(sizes) for sizes in shown["sizes"].values if sizes != "3/4/5"]
    kinds = ["three values", "label-blind"]
    fig, axes = plt.subplots(
        len(kinds),
        len(columns),
        figsize=(2.7 * len(columns), 5.4),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for row, kind in zip(axes, kinds, strict=True):
        for ax, sizes in zip(row, columns, strict=True):
            _frame(ax, shown.vectors.sel(sizes=sizes, kind=kind).isel(repeat=0))
            ax.set_title(f"{sizes}: {kind}")
    return fig


def _frame(ax: Axes, vectors: xr.DataArray) -> None:
    """Rows of the classifier as arrows, class means as dots; the last class points right."""
    vectors = vectors / np.sqrt((vectors**2).sum("axis").mean("class"))
    turn = -np.arctan2(*vectors.sel(frame="classifier").isel({"class": 2}).values[::-1])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for c, name in enumerate(("nngp", "ntk", "eos")):
        colour = figures.COLOURS[name]
        row, mean = (
            spin @ vectors.sel(frame=frame).isel({"class": c}).values
            for frame in vectors.frame.values
        )
        ax.annotate("", row, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.2})
        ax.plot([0, mean[0]], [0, mean[1]], color=colour, linestyle=":", linewidth=1.6)
        ax.plot(*mean, marker="o", color=colour, markersize=6)
    ax.set(xlim=(-1.7, 1.9), ylim=(-1.7, 1.7), aspect="equal", xticks=[], yticks=[])
    ax.axis("off")


@figures.style()
def defect(shown: xr.Dataset) -> Figure:
    """Distance of the classifier's frame from the simplex: by imbalance, by noise, by samples.

    Args:
        shown: `imbalance` (within_value × factor), `noise` (sigma × repeat), `noise_by_m`
            (noise_kind × m × repeat).
    """
    fig, axes = plt.subplots(1, 3, figsize=(10.0, 3.1))
    values = shown.within_value.values
    for value, colour in zip(values, ("released", "eos", "nngp", "ntk"), strict=True):
        label = value if value == "label-blind" else rf"$\kappa_c$ = {value}"
        axes[0].plot(
            shown.factor,
            shown.imbalance.sel(within_value=value),
            marker="o",
            color=figures.COLOURS[colour],
            label=label,
        )
    axes[0].set(xlabel="times 2/3/7 samples", ylabel="defect", title="imbalance")
    axes[1].set(xlabel=r"noise $\sigma$", title="noise by size")
    figures.curves(axes[1], shown.noise, x="sigma", color=figures.COLOURS["ntk"])
    for kind, colour in (("independent entries", "ntk"), ("whole blocks", "data")):
        by_m = shown.noise_by_m.sel(noise_kind=kind)
        figures.curves(axes[2], by_m, x="m", label=kind, color=figures.COLOURS[colour])
    axes[2].set(xlabel="samples per class $m$", title=r"noise by $m$, $\sigma$ = 0.01")
    for ax in axes:
        ax.set(xscale="log", yscale="log")
    figures.dimension_axis(axes[2], shown.m.values, "samples per class $m$")
    axes[0].legend(loc="lower left")
    axes[2].legend(loc="lower left")
    return fig


@figures.style()
def neurons(shown: xr.Dataset) -> Figure:
    """NC1 along flows with one kernel for each neuron, and all metrics at the end by the spread.

    Args:
        shown: `nc` (spread × repeat × time × metric).
    """
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.1))
    tints = figures.shades(figures.COLOURS["network"], shown.sizes["spread"])
    for spread, tint in zip(shown.spread.values, tints, strict=True):
        values = shown.nc.sel(spread=spread, metric="nc1")
        _lines(axes[0], values, color=tint, linewidth=1.1, label=f"spread {spread:g}")
    axes[0].set(xscale="log", yscale="log", xlabel="time", title="NC1, all $e_k = 0$")
    axes[0].set_ylim(1e-18, 10)
    axes[0].legend(loc="lower left")
    end = shown.isel(spread=slice(1, None), time=-1)
    for metric, colour in (("nc1", "nngp"), ("nc2", "ntk"), ("nc3", "eos")):
        figures.curves(
            axes[1],
            end.nc.sel(metric=metric),
            x="spread",
            label=metric.upper(),
            color=figures.COLOURS[colour],
        )
    axes[1].set(xscale="log", yscale="log", xlabel="spread of the kernels", title="at the end")
    axes[1].legend(loc="lower right")
    return fig


# --- kernels of trained networks --------------------------------------------------------------


@figures.style()
def kernels_along(
    shown: xr.Dataset, pair: xr.Dataset, unexplained: Sequence[xr.DataArray]
) -> Figure:
    """How blocks and alignment grow along training, and what blocks leave unexplained at the end.

    Args:
        shown: runs with `gamma_c`, `gamma_n`, `kappa_c`, `kappa_n` and both alignments by epoch.
        pair: two of these runs, the one that collapses first; their settings are drawn.
        unexplained: shares of variance of the kernels of outputs and of features, of the first
            network and then of the second, with NC1 at the end as a coordinate `nc1`.
    """
    colours = {"outputs": figures.COLOURS["network"], "features": figures.COLOURS["theory"]}
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.2))
    for row, (line, word) in enumerate((("-", "collapse"), ("--", "do not"))):
        one = pair.isel(run=row)
        same = (shown.init == one.init) & (shown.learning_rate == one.learning_rate)
        runs = shown.isel(run=np.flatnonzero(same)).assign_coords(epoch=shown.epoch + 1)
        for of, letter in (("outputs", "gamma"), ("features", "kappa")):
            style = {"x": "epoch", "spread": "run", "color": colours[of]}
            style |= {"linestyle": line, "markersize": 3}
            contrast = runs[f"{letter}_c"] / runs[f"{letter}_n"]
            figures.curves(axes[0], contrast, label=f"{of}, {word}", **style)
            figures.curves(axes[1], runs[f"alignment_{of}"], **style)
    for place, share in enumerate(unexplained):
        style = {"color": list(colours.values())[place % 2], "marker": "o^"[place // 2]}
        axes[2].scatter(share.nc1, share, s=16, alpha=0.8, linewidths=0, **style)
    axes[0].set(title="a) within over between", xscale="log", yscale="log", xlabel="epoch + 1")
    axes[1].set(title="b) alignment with the labels", xscale="log", xlabel="epoch + 1")
    axes[2].set(
        title="c) variance not explained", xscale="log", xlabel="NC1 at the end", ylim=(0, 1)
    )
    axes[0].legend(fontsize="x-small")
    return fig


@figures.style()
def estimates(shown: xr.Dataset) -> Figure:
    """Values of a kernel and alignment of the invariant from few samples, over many draws.

    Args:
        shown: `estimated_values` (example × estimator × draw × value) and `whole_values`,
            `estimated_alignment` and `whole_alignment`, of a network that collapses and one
            that does not.
    """
    draws = shown.estimated_values / shown.whole_values
    twelve = int(shown.drawn_per_class)
    estimators = (
        ("halves", f"halves of {twelve}, as released", "released"),
        ("pairs", f"all pairs of {twelve}", "network"),
        ("few", f"all pairs of {int(shown.few_per_class)}, as on this page", "data"),
    )
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.2), width_ratios=(3, 3, 2))
    for place, (name, label, colour) in enumerate(estimators):
        style = {"color": figures.COLOURS[colour], "fmt": "o", "ms": 3, "capsize": 2}
        shift = 0.22 * (place - 1)
        for example in range(2):
            one = draws.sel(estimator=name).isel(example=example)
            axes[example].errorbar(
                np.arange(3) + shift, one.mean("draw"), one.std("draw"), label=label, **style
            )
            one = shown.estimated_alignment.sel(estimator=name).isel(example=example)
            axes[2].errorbar(example + shift, one.mean("draw"), one.std("draw"), **style)
    for ax, title in zip(axes, ("a) collapses", "b) does not", "c) the invariant"), strict=True):
        ax.set(title=title)
    for ax in axes[:2]:
        ax.axhline(1, color="0.5", lw=0.8)
        ax.set(xticks=range(3), xticklabels=[r"$\kappa_d$", r"$\kappa_c$", r"$\kappa_n$"])
    axes[0].set(ylabel="estimate over value of the whole")
    axes[2].plot(range(2), shown.whole_alignment, "_", color="0.3", ms=26, label="whole set")
    axes[2].set(xticks=range(2), xticklabels=["collapses", "does not"], xlim=(-0.5, 1.5))
    axes[2].set(ylabel="alignment")
    axes[0].legend(fontsize="x-small")
    return fig


@figures.style()
def components(
    networks: Mapping[str, xr.Dataset], ratios: Mapping[tuple[str, str], xr.DataArray]
) -> Figure:
    """Relative norms of the mixed components of a kernel, and those of the others against NC1.

    Args:
        networks: "mnist" and "digits" (or one of them): runs with `norms_outputs`,
            `norms_features` and `nc1`.
        ratios: norms relative to those of both outputs alone, by network and "outputs" or
            "features"; NaN where there is none.
    """
    colours = {"outputs": figures.COLOURS["network"], "features": figures.COLOURS["theory"]}
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.0))
    for (name, of), ratio in ratios.items():
        runs, line, marker = networks[name], *{"mnist": ("-", "o"), "digits": ("--", "^")}[name]
        values = np.sort(ratio.values[np.isfinite(ratio.values)])
        shares = np.linspace(0, 1, len(values))
        style = {"color": colours[of], "linestyle": line}
        axes[0].plot(values, shares, label=f"{of}, {name}", **style)
        own = np.diagonal(runs[f"norms_{of}"].values, axis1=1, axis2=2)
        spots = np.repeat(runs.nc1.isel(epoch=-1).values[:, None], own.shape[1], axis=1)
        style = {"color": colours[of], "marker": marker, "linewidths": 0}
        axes[1].scatter(spots, own / own.max(axis=1, keepdims=True), s=5, alpha=0.6, **style)
    axes[0].set(
        title="a) components k ≠ s", xlabel="relative norm", ylabel="share below", xlim=(0, 1)
    )
    axes[1].set(title="b) components k = s", xscale="log", yscale="log", ylim=(1e-4, 2))
    axes[1].set(xlabel="NC1 at the end", ylabel="norm over the largest")
    axes[0].legend(fontsize="x-small")
    return fig


# --- which networks collapse ------------------------------------------------------------------


@figures.style()
def training(shown: xr.Dataset) -> Figure:
    """Panes a–e of P2's Fig. 2: `along_training` of the runs that fit.

    Args:
        shown: the arrays `TRAINING`, runs × epochs.
    """
    fig, axes = plt.subplots(2, 3, figsize=(9.6, 5.6))
    along_training(axes.flat[:5], shown)
    axes.flat[5].axis("off")
    axes.flat[5].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", handlelength=3.5)
    return fig


@figures.style()
def two_measures(shown: xr.Dataset) -> Figure:
    """NC1 relative and as P2 has it, against each other and against the invariant's alignment.

    Args:
        shown: `nc1`, `nc1_std` and `invariant_alignment` of runs at their end.
    """
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.1))
    scatter(axes[0], shown.nc1, shown.nc1_std, labels=True)
    scatter(axes[1], shown.nc1, shown.invariant_alignment)
    scatter(axes[2], shown.nc1_std, shown.invariant_alignment)
    axes[0].set(xscale="log", yscale="log", xlabel="NC1, relative", ylabel="NC1, P2's")
    axes[1].set(xscale="log", xlabel="NC1, relative", ylabel="alignment of the invariant")
    axes[2].set(xscale="log", xlabel="NC1, P2's", ylabel="alignment of the invariant")
    axes[0].legend(fontsize="x-small")
    return fig


@figures.style()
def forecast(shown: xr.Dataset) -> Figure:
    """NC1 at the end against what is known when a run first fits.

    Args:
        shown: `invariant_alignment` and `nc1` when a run first fits, `final` NC1, and
            `alignment_left` and `nc1_left`, both without the mean of their setting.
    """
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.1))
    scatter(axes[0], shown.invariant_alignment, shown.final, labels=True)
    scatter(axes[1], shown.nc1, shown.final)
    axes[2].plot(shown.alignment_left, shown.nc1_left, "o", color=figures.COLOURS["network"])
    axes[0].set(xlabel="alignment when first fit", ylabel="NC1 at the end", yscale="log")
    axes[1].set(xlabel="NC1 when first fit", ylabel="NC1 at the end", xscale="log", yscale="log")
    axes[2].set(
        xlabel="alignment, less its setting's mean", ylabel="log NC1, less its setting's mean"
    )
    axes[0].legend(fontsize="x-small")
    return fig


@figures.style()
def two_losses(shown: xr.Dataset, squared: xr.Dataset) -> Figure:
    """The invariant against both kinds of NC1, one point a run, for two losses.

    Args:
        shown: `nc1`, `nc1_std`, `invariant_alignment`, `invariant_norm` of runs trained with
            cross-entropy, at their end.
        squared: the same of runs trained with the squared error.
    """
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.2))
    panels = (
        ("NC1, relative", "nc1", "invariant_alignment"),
        ("NC1, P2's", "nc1_std", "invariant_alignment"),
        ("NC1, relative", "nc1", "invariant_norm"),
    )
    losses = (("squared error", squared, "ntk", "o"), ("cross-entropy", shown, "nngp", "s"))
    for ax, (title, x, y) in zip(axes, panels, strict=True):
        for label, runs, colour, marker in losses:
            style = {"color": figures.COLOURS[colour], "marker": marker, "s": 18, "alpha": 0.8}
            ax.scatter(runs[x], runs[y], label=label, linewidths=0, **style)
        ax.set(xscale="log", xlabel=title, ylabel=y.replace("_", " "))
    axes[2].set(yscale="log")
    axes[0].legend(loc="lower left")
    return fig
