"""The figures of P1: kernels by their NC1, real networks beside them, the Equations of State.

Each function takes the arrays that its figure shows and returns the figure.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncutils.figures.style import (
    COLOURS,
    curves,
    dimension_axis,
    heatmap,
    nc1_panels,
    shades,
    style,
)

NC1 = r"$\log_{10}\,\mathcal{NC}_1$"
ABOVE_NNGP = NC1 + " minus NNGP"
NTK_OVER_NNGP = r"$\log_{10}\,\mathcal{NC}_1(\Theta)\,/\,\mathcal{NC}_1(Q)$"
INK = "#1b2a38"
NAMES = {"erf": "erf", "relu": "ReLU"}
#: kernel → (title, key of `COLOURS`)
LIMITS = {
    "nngp_erf": ("NNGP, erf", "nngp"),
    "ntk_erf": ("NTK, erf", "ntk"),
    "nngp_relu": ("NNGP, ReLU", "nngp"),
    "ntk_relu": ("NTK, ReLU", "ntk"),
}


# --- NC1 from a kernel ----------------------------------------------------------------------


@style()
def kernel_maps(ds: xr.Dataset) -> Figure:
    """Heat maps of an NNGP kernel, samples sorted by class: `kernel` (panel, i, j)."""
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.1))
    for ax, panel in zip(axes, ds.panel.values, strict=True):
        sizes = [int(n) for n in panel.split("/")]
        heatmap(ax, ds.kernel.sel(panel=panel), sizes=sizes, title=panel, vmin=-1, vmax=1)
        ax.set(xlabel="sample", ylabel="sample")
    return fig


@style()
def imbalance(ds: xr.Dataset) -> Figure:
    """The change of NC1 from equal classes, by two formulas, on the laws derived for them.

    `log10_nc1` (sizes, d0, repeat, kernel, formula), `exact_law`, `as_printed_law` (sizes).
    """
    change = ds.log10_nc1 - ds.log10_nc1.isel(sizes=0).mean("repeat")
    looks = {"exact": ("nngp", "definition"), "as_printed": ("released", "released formula")}
    fig, axes = plt.subplots(1, ds.sizes["d0"], sharey=True, figsize=(9.2, 2.9))
    for ax, d0 in zip(axes, ds.d0.values, strict=True):
        for formula, (colour, label) in looks.items():
            here = change.sel(kernel="nngp_erf", d0=d0, formula=formula)
            here, look = here.assign_coords(sizes=ds.share.values), {"color": COLOURS[colour]}
            curves(ax, here, x="sizes", label=label, linestyle="none", **look)
            ax.plot(ds.share, ds[f"{formula}_law"], linewidth=1, **look)
        ax.set(title=f"$d_0$ = {d0}", xlabel="smaller class", xticks=[0.125, 0.25, 0.375, 0.5])
        ax.set_xticklabels(["1/8", "1/4", "3/8", "1/2"])
    axes[-1].legend(loc="lower right")
    axes[0].set_ylabel("change of " + NC1)
    return fig


@style()
def digits_depth(ds: xr.Dataset) -> Figure:
    """NC1 of digits by depth: `log10_nc1`, `log10_pixels`, and `limit`, without classes."""
    base = float(ds.log10_pixels.sel(inputs="normalised").mean())
    looks = {
        "normalised": {"linestyle": "-", "marker": "o"},
        "raw": {"linestyle": "--", "marker": "."},
    }
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.8, 3.2))
    for ax, activation in zip(axes, ("relu", "erf"), strict=True):
        for kernel in ("nngp", "ntk"):
            for inputs, look in looks.items():
                here = ds.log10_nc1.sel(inputs=inputs, kernel=f"{kernel}_{activation}")
                label = f"{kernel.upper()}, {inputs}" if activation == "relu" else None
                curves(ax, here, x="depth", label=label, color=COLOURS[kernel], **look)
        ax.axhline(base, color=COLOURS["data"], linewidth=1)
        ax.axhline(float(ds.limit), color=COLOURS["theory"], linewidth=1)
        dimension_axis(ax, ds.depth.values, "hidden layers $L$")
        ax.set_title(NAMES[activation])
    axes[1].text(1, float(ds.limit), "kernel without classes", va="bottom", fontsize=8.5)
    axes[0].text(ds.depth.max(), base, "pixels", va="top", ha="right", fontsize=8.5)
    axes[0].legend()
    axes[0].set_ylabel(NC1)
    return fig


@style()
def digits_classes(ds: xr.Dataset) -> Figure:
    """NC1 of digits of one norm by number of classes: `log10_nc1`, `log10_pixels`."""
    depths = [L for L in (1, 2, 5) if L in ds.depth]
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.8, 3.0))
    for ax, activation in zip(axes, ("relu", "erf"), strict=True):
        curves(ax, ds.log10_pixels, x="classes", label="pixels", color=COLOURS["data"])
        for kernel in ("nngp", "ntk"):
            for L, tint in zip(depths, shades(COLOURS[kernel], len(depths)), strict=True):
                here = ds.log10_nc1.sel(kernel=f"{kernel}_{activation}", depth=L)
                curves(ax, here, x="classes", label=f"{kernel.upper()}, $L$ = {L}", color=tint)
        ax.set(title=NAMES[activation], xlabel="number of classes $C$")
    axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    axes[0].set_ylabel(NC1)
    return fig


# --- NNGP or NTK ----------------------------------------------------------------------------


@style()
def criterion(ds: xr.Dataset) -> Figure:
    """Random sets: what the criterion predicts against what happens.

    `criterion`, `p_in`, `log10_ntk`, `log10_nngp` (classes, draw).
    """
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.6, 3.4))
    titles = {2: "two equal classes", 3: "three unequal classes"}
    for ax, (C, title) in zip(axes, titles.items(), strict=True):
        here = ds.sel(classes=C)
        change, room = here.log10_ntk - here.log10_nngp, here.criterion / here.p_in
        less = {"s": 8, "color": COLOURS["nngp"], "label": "NTK shows less"}
        more = {"s": 22, "color": COLOURS["ntk"], "label": "NTK shows more", "zorder": 3}
        for where, look in ((change >= 0, less), (change < 0, more)):
            ax.scatter(room[where], change[where], **look)
        ax.axhline(0, color=COLOURS["data"], linewidth=0.9)
        ax.axvline(0, color=COLOURS["data"], linewidth=0.9)
        ax.set_xscale("symlog", linthresh=1)
        ax.set(title=title, xlabel=r"$(p_W + \mathcal{NC}_1(Q)\,B_P)\,/\,p_{in}$")
    axes[1].legend(loc="lower right")
    axes[0].set_ylabel(NTK_OVER_NNGP)
    return fig


@style()
def rays(ds: xr.Dataset) -> Figure:
    """Two classes on two rays: `ray_ratio` and `ray_formula` over their angle."""
    fig, ax = plt.subplots(figsize=(4.6, 3.0))
    ax.plot(ds.angle, ds.ray_formula, color=COLOURS["theory"], label="derived")
    look = {"color": COLOURS["ntk"], "markersize": 3, "label": "measured"}
    ax.plot(ds.angle, ds.ray_ratio, "o", **look)
    ax.plot([0, 1 / np.pi], [0, 1], ":", color=COLOURS["data"], label=r"$\pi\theta$")
    ax.axhline(1, color=COLOURS["data"], linewidth=0.9)
    ax.set(
        xlabel=r"angle $\theta$ between the rays",
        ylabel=r"$\mathcal{NC}_1(\Theta)\,/\,\mathcal{NC}_1(Q)$",
        ylim=(0, 1.08),
    )
    ax.set_xticks([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi], ["0", "π/4", "π/2", "3π/4", "π"])
    ax.legend(loc="lower right")
    return fig


@style()
def gaussians(ds: xr.Dataset, *, activation: str) -> Figure:
    """Figs 2 and 3 without the network: `d1` over N and d0, and the limits in `theory`."""
    panels = {
        f"nngp_{activation}": ("(a) NNGP", "nngp"),
        f"ntk_{activation}": ("(b) NTK", "ntk"),
    }
    if activation == "erf":
        panels["ntk_erf_released"] = ("(b) as released", "released")
    limits = ds.theory.sel(set="D1")
    fig = nc1_panels(ds.d1.to_dataset("kernel"), panels)
    for ax, name in zip(fig.axes, panels, strict=True):
        ends = limits.sel(kernel=name.removesuffix("_released"))
        look = {"color": COLOURS["theory"], "linewidth": 1, "linestyle": "--"}
        ax.axhline(ends.sel(form="closed form"), **look)
        one = ends.sel(form="one dimension") if activation == "erf" else np.log10(0.125)
        ax.plot(1, one, "D", color=COLOURS["theory"])
    if activation == "relu":
        fig.axes[0].set_ylim(-1.05, -0.5)
    return fig


@style()
def other_sets(ds: xr.Dataset) -> Figure:
    """Four kernels on three sets: `sets`, and their limits in `theory` as bars at the right."""
    fig, axes = plt.subplots(1, 3, figsize=(9.0, 3.0))
    styles = {"nngp_erf": "-", "nngp_relu": "--", "ntk_erf": "-", "ntk_relu": "--"}
    for ax, name in zip(axes, ds.set.values, strict=True):
        for kernel, line in styles.items():
            kind, activation = kernel.split("_")
            label, colour = f"{kind.upper()}, {NAMES[activation]}", COLOURS[kind]
            here = ds.sets.sel(set=name, kernel=kernel)
            curves(ax, here, x="d0", label=label, color=colour, linestyle=line)
            limit = ds.theory.sel(form="infinite dimension", set=name, kernel=kernel)
            ax.plot(ds.d0.max() * 1.6, limit, "_", color=colour, markersize=9)
        dimension_axis(ax, ds.d0.values)
        ax.set_title({"std 2": "wide classes"}.get(name, name))
    axes[1].legend(loc="lower right")
    axes[0].set_ylabel(NC1)
    return fig


@style()
def imbalanced_panels(ds: xr.Dataset) -> Figure:
    """Four kernels on unequal classes, by two formulas: `log10_nc1`."""
    rows = {"exact": "definition", "as_printed": "released formula"}
    fig, axes = plt.subplots(2, 4, sharex=True, sharey="col", figsize=(9.2, 5.0))
    for row, (formula, words) in zip(axes, rows.items(), strict=True):
        for ax, (kernel, (title, colour)) in zip(row, LIMITS.items(), strict=True):
            tints = shades(COLOURS[colour], ds.sizes["sizes"])
            for sizes, tint in zip(ds["sizes"].values, tints, strict=True):
                here = ds.log10_nc1.sel(sizes=sizes, kernel=kernel, formula=formula)
                curves(ax, here, x="d0", label=sizes, color=tint)
            dimension_axis(ax, ds.d0.values, "" if formula == "exact" else "$d_0$")
            ax.set_title(title if formula == "exact" else "")
        row[0].set_ylabel(f"{NC1}, {words}")
    axes[0, 0].legend()
    axes[0, 1].legend()
    return fig


@style()
def relative(ds: xr.Dataset) -> Figure:
    """NC1 of each of `LIMITS`, a variable each, over that of the data."""
    fig = nc1_panels(ds, LIMITS)
    for ax in fig.axes:
        ax.axhline(0, color=COLOURS["data"], linewidth=0.9)
    fig.axes[0].set_ylabel(r"$\log_{10}\,\mathcal{NC}_1 / \mathcal{NC}_1(X)$")
    return fig


@style()
def networks(ds: xr.Dataset) -> Figure:
    """NTK over NNGP by depth for three architectures, one line a draw: `log10_nc1`."""
    gap = ds.log10_nc1.sel(kernel="ntk") - ds.log10_nc1.sel(kernel="nngp")
    titles = {
        "dense": "fully connected",
        "conv": "convolutional",
        "conv-pool": "convolutional, averaged",
    }
    kinds = [(a, i) for a in ("relu", "erf") for i in ("normalised", "raw")]
    fig, axes = plt.subplots(1, 3, sharey=True, figsize=(9.0, 3.0))
    for ax, (architecture, title) in zip(axes, titles.items(), strict=True):
        for activation, inputs in kinds:
            here = gap.sel(architecture=architecture, activation=activation, inputs=inputs)
            look = {
                "color": COLOURS["network" if activation == "relu" else "data"],
                "linestyle": "-" if inputs == "normalised" else "--",
                "marker": ".",
                "linewidth": 1.1,
            }
            lines = ax.plot(here.depth, here.transpose("depth", "repeat"), **look)
            lines[0].set_label(f"{NAMES[activation]}, {inputs}")
        ax.axhline(0, color=COLOURS["data"], linewidth=1.2)
        ax.set(title=title, xlabel="hidden layers $L$", xticks=here.depth.values)
    axes[0].legend()
    axes[0].set_ylabel(NTK_OVER_NNGP)
    return fig


# --- a real network -------------------------------------------------------------------------

_HUES = {"erf": COLOURS["network"], "relu": COLOURS["eos"]}


@style()
def trained(ds: xr.Dataset) -> Figure:
    """Figs 2c and 3c: NC1 of a trained network, `nc1` (N, d0, repeat), with `nngp` and `ntk`."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1))
    tints = shades(COLOURS["network"], ds.sizes["N"])
    for N, tint in zip(ds.N.values, tints, strict=True):
        here = ds.sel(N=N)
        curves(left, here.nc1, x="d0", label=f"network, $N$ = {N}", color=tint)
        curves(right, here.nc1 - here.nngp, x="d0", color=tint)
    last = ds.isel(N=-1)
    for kernel in ("nngp", "ntk"):
        look = {"linewidth": 1.3, "linestyle": "--", "marker": ".", "color": COLOURS[kernel]}
        curves(left, last[kernel], x="d0", label=kernel.upper(), **look)
        curves(right, last[kernel] - last.nngp, x="d0", **look)
    for ax in (left, right):
        dimension_axis(ax, ds.d0.values)
    left.set(ylabel=NC1, title=f"{NAMES[str(ds.activation.values)]}, trained")
    right.set(title="the same minus NNGP")
    left.legend()
    return fig


@style()
def motion(ds: xr.Dataset) -> Figure:
    """What training did: `features_moved`, `kernel_moved`, `loss` and `relative_step`."""
    panels = {
        "features_moved": "features, $\\Vert \\Delta H \\Vert / \\Vert H \\Vert$",
        "kernel_moved": "tangent kernel, $\\Vert \\Delta \\Theta \\Vert / \\Vert \\Theta \\Vert$",
        "loss": "loss at the end",
        "relative_step": r"step, $\eta \lambda / 2$",
    }
    fig, axes = plt.subplots(1, 4, figsize=(11, 2.9))
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        for activation, hue in _HUES.items():
            here = ds[name].sel(activation=activation)
            curves(ax, here, x="d0", label=NAMES[activation], color=hue)
        dimension_axis(ax, ds.d0.values)
        ax.set_title(title)
    for ax in axes[:3]:
        ax.set_yscale("log")
    axes[3].axhline(1, color=COLOURS["data"], linewidth=1)
    axes[0].legend()
    return fig


@style()
def motion_by_width(ds: xr.Dataset) -> Figure:
    """How far the features move at growing width: `features_moved` over width and target."""
    far = ds.features_moved.isel(activation=0, N=0, d0=0, epoch=-1)
    fig, ax = plt.subplots(figsize=(4.6, 3.1))
    for target, label, colour in ((0, "$s = 1$", "network"), (1, "$s$ grows as $d_1$", "eos")):
        curves(ax, far.isel(target=target), x="width", label=label, color=COLOURS[colour])
    anchor = far.isel(target=0, width=-1).mean() * (ds.width / ds.width[-1]) ** -1.5
    look = {"color": COLOURS["theory"], "linestyle": ":", "label": "power $-3/2$"}
    ax.plot(ds.width, anchor, **look)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="hidden units $d_1$",
        ylabel=r"$\Vert \Delta H \Vert / \Vert H \Vert$",
    )
    ax.set_xticks(ds.width.values, [str(w) for w in ds.width.values])
    ax.minorticks_off()
    ax.legend()
    return fig


@style()
def longer(ds: xr.Dataset) -> Figure:
    """Along a longer run: `loss` with `kernel_regime_loss`, and `nc1` minus `nngp`."""
    fig, axes = plt.subplots(2, 2, sharex=True, sharey="row", figsize=(8.2, 5.2))
    for (top, low), activation in zip(axes.T, ds.activation.values, strict=True):
        tints = shades(_HUES[activation], ds.sizes["d0"])
        for d0, tint in zip(ds.d0.values, tints, strict=True):
            one = ds.sel(activation=activation, d0=d0)
            curves(top, np.log10(one.loss), x="epoch", color=tint, label=f"$d_0$ = {d0}")
            predicted = np.log10(one.kernel_regime_loss).mean("repeat")
            top.plot(ds.epoch, predicted, ".", color=INK, markersize=3, zorder=5)
            curves(low, one.nc1 - one.nngp, x="epoch", color=tint)
        low.axhline(0, color=COLOURS["nngp"], linewidth=1, linestyle="--")
        low.set(xscale="symlog", xlabel="epoch", xlim=(0, None))
        top.set_title(NAMES[activation])
    axes[0, 0].legend(ncols=2)
    axes[0, 0].set_ylabel("$\\log_{10}$ loss")
    axes[1, 0].set_ylabel(ABOVE_NNGP)
    return fig


@style()
def rich(ds: xr.Dataset) -> Figure:
    """The trained network at growing targets: `nc1`, `nngp`, `ntk` over target and d0."""
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(8.2, 3.3))
    for ax, activation in zip(axes, ds.activation.values, strict=True):
        tints = shades(_HUES[activation], ds.sizes["d0"])
        for d0, tint in zip(ds.d0.values, tints, strict=True):
            one = ds.sel(activation=activation, d0=d0)
            curves(ax, one.nc1 - one.nngp, x="target", color=tint, label=f"$d_0$ = {d0}")
        above = ds.sel(activation=activation).isel(d0=-1)
        look = {"linewidth": 1, "linestyle": "--"}
        ax.axhline(0, color=COLOURS["nngp"], **look)
        ax.axhline((above.ntk - above.nngp).mean(), color=COLOURS["ntk"], **look)
        ax.set(xscale="log", xlabel="size $s$ of the targets", title=NAMES[activation])
        ax.set_xticks(ds.target.values, [f"{s:g}" for s in ds.target.values])
        ax.minorticks_off()
        ax.legend()
    axes[0].set_ylabel(ABOVE_NNGP)
    return fig


# --- the Equations of State -----------------------------------------------------------------


@style()
def figure4(ds: xr.Dataset) -> Figure:
    """Fig. 4: `nc1` of both sources over width, N and d0, and `nngp`."""
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(8.4, 3.6))
    greens, oranges = (shades(COLOURS[c], ds.sizes["N"]) for c in ("eos", "released"))
    dashed = {"linestyle": "--", "marker": "."}
    for ax, width, panel in zip(axes, ds.width.values, "ab", strict=True):
        for N, green, orange in zip(ds.N.values, greens, oranges, strict=True):
            here = ds.nc1.sel(N=N, width=width)
            curves(ax, here.sel(source="released_code"), x="d0", color=orange, **dashed)
            curves(ax, here.sel(source="theory"), x="d0", color=green, label=f"$N$ = {N}")
        look = {"color": COLOURS["nngp"], "linestyle": ":", "marker": "", "label": "NNGP"}
        curves(ax, ds.nngp.isel(N=-1), x="d0", **look)
        ax.plot([], [], "--", color=COLOURS["released"], label="released")
        dimension_axis(ax, ds.d0.values)
        ax.set_title(f"({panel}) $d_1$ = {width:g}")
    axes[0].set_ylabel(NC1)
    axes[1].legend(loc="lower right")
    return fig


@style()
def mechanism(grid: xr.Dataset, lines: xr.Dataset) -> Figure:
    """The spike, and where it goes: `spike` and `rest` of a grid, NC1 over width and noise.

    Args:
        grid: the case ``figure4``.
        lines: `width_nc1`, `noise_nc1` and `line_nngp` of the case ``settings``.
    """
    fig, axes = plt.subplots(1, 3, figsize=(10.2, 3.3))
    tints = shades(COLOURS["eos"], grid.sizes["N"])
    for N, tint in zip(grid.N.values, tints, strict=True):
        here = grid.sel(source="theory", N=N, width=500)
        curves(axes[0], here.spike, x="d0", color=tint, label=f"along, $N$ = {N}")
    curves(axes[0], here.rest, x="d0", color=COLOURS["data"], label="other directions")
    dimension_axis(axes[0], grid.d0.values)
    axes[0].axhline(1, color=COLOURS["nngp"], linestyle=":")
    axes[0].set_title("variance of the weights, $d_1$ = 500")
    axes[0].legend()
    labels = {"width": "hidden units $d_1$", "noise": r"noise $\sigma^2$"}
    for ax, (axis, label) in zip(axes[1:], labels.items(), strict=True):
        curves(ax, lines[f"{axis}_nc1"] - lines.line_nngp, x=axis, color=COLOURS["eos"])
        ax.axhline(0, color=COLOURS["nngp"], linestyle=":")
        ax.set(xscale="log", xlabel=label)
        ax.minorticks_off()
    axes[1].set_title(r"$\log_{10}\,\mathcal{NC}_1$ minus NNGP")
    axes[2].set_title("the same")
    return fig


@style()
def eos_sets(ds: xr.Dataset) -> Figure:
    """Five settings: `set_nc1` of both sources, `set_nngp`, and where `recipe_residual` is NaN."""
    names = list(ds["set"].values)
    fig, axes = plt.subplots(1, len(names), figsize=(12.5, 2.9))
    sources = (("released_code", "released", "released"), ("theory", "EoS", "eos"))
    for ax, name in zip(axes, names, strict=True):
        here = ds.sel(set=name)
        look = {"color": COLOURS["nngp"], "linestyle": ":", "label": "NNGP"}
        curves(ax, here.set_nngp, x="d0", **look)
        for source, label, colour in sources:
            values = here.set_nc1.sel(source=source)
            curves(ax, values, x="d0", color=COLOURS[colour], label=label)
        failed = here.recipe_residual.isnull() & (here.d0 == 8)
        level = here.set_nc1.sel(source="theory").mean("repeat")
        look = {"color": INK, "markersize": 9, "label": "published solver fails"}
        ax.plot(here.d0[failed], level[failed], "x", **look)
        dimension_axis(ax, here.d0.values, "$d_0$")
        ax.set_title(name.replace(", labels", ",\nlabels"))
    axes[0].set_ylabel(NC1)
    handles = axes[names.index("four classes")].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncols=4)
    return fig


@style()
def figure5(ds: xr.Dataset) -> Figure:
    """Fig. 5: `nngp`, `ntk` and `nc1` of both sources, and the trained `network` where it is."""
    count = ds.sizes["N"]
    size = (2.7 * count + 0.4, 3.3)
    fig, axes = plt.subplots(1, count, sharey=True, figsize=size, squeeze=False)
    for ax, N in zip(axes[0], ds.N.values, strict=True):
        here = ds.sel(N=N, width=500)
        lines = {
            "NNGP": (here.nngp, "nngp"),
            "NTK": (here.ntk, "ntk"),
            "EoS": (here.nc1.sel(source="theory"), "eos"),
            "EoS, released": (here.nc1.sel(source="released_code"), "released"),
        }
        if not here.network.isnull().all():
            lines["network"] = (here.network, "network")
        for label, (values, colour) in lines.items():
            curves(ax, values, x="d0", color=COLOURS[colour], label=label)
        dimension_axis(ax, here.d0.values)
        ax.set_title(f"$N$ = {N}")
    axes[0, 0].set_ylabel(NC1)
    axes[0, 0].legend()
    return fig


def _points(ax: Axes, ds: xr.Dataset) -> np.ndarray:
    """An axis with a tick at each sampled setting; their places."""
    places = np.arange(ds.sizes["point"])
    settings: Iterable = zip(ds.N, ds.d0, ds.d1, strict=True)
    words = [f"$N$ = {int(N)}\n$d_0$ = {int(d0)}\n$d_1$ = {int(d1)}" for N, d0, d1 in settings]
    ax.set_xticks(places, words)
    ax.set_xlim(-0.5, len(places) - 0.5)
    return places


@style()
def sampling(ds: xr.Dataset) -> Figure:
    """Sampled networks beside the theories: spikes, NC1, and the ladder of widths."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.7))
    bars = {"fmt": "_", "color": INK, "markersize": 13, "label": "sampled"}
    spikes = (
        ("theory_bfgs_spike", "$-\\sigma^{-4}$ (EoS)", "eos", "o"),
        ("wrong sign_bfgs_spike", "$+\\sigma^{-4}$", "ntk", "v"),
        ("power -2_bfgs_spike", "$-\\sigma^{-2}$", "data", "s"),
        ("power 2_bfgs_spike", "$-\\sigma^{2}$", "released", "D"),
    )
    levels = (
        ("theory_nc1", "EoS", "eos", "o"),
        ("gaussian_nc1", "Gaussian weights, $d_1$ units", "data", "s"),
        ("mean_field_nc1", "mean field, any shape", "theory", "D"),
    )
    panels = ((axes[0], spikes, "spike", 1.0), (axes[1], levels, "nc1", ds.nngp_nc1))
    for ax, rows, name, unit in panels:
        places = _points(ax, ds)
        for k, (row, label, colour, mark) in enumerate(rows):
            look = {"color": COLOURS[colour], "label": label}
            ax.plot(places + 0.07 * k, ds[row] / unit, mark, **look)
        ax.errorbar(places - 0.1, ds[name] / unit, 2 * ds[f"{name}_error"] / unit, **bars)
        ax.axhline(1, color=COLOURS["nngp"], linestyle=":")
        ax.legend()
    axes[0].set_title(r"spike $d_0\, u^\top \Sigma u$")
    axes[1].set(title=r"$\mathcal{NC}_1$ relative to NNGP", ylim=(0, None))
    ratios = (
        (ds.mean_field_drift / ds.eos_drift, "o-", "eos", "change of the spike"),
        (ds.mean_field_drop / ds.eos_drop, "D-", "theory", r"fall of $\mathcal{NC}_1$"),
    )
    for values, mark, colour, label in ratios:
        axes[2].plot(ds.ladder, values, mark, color=COLOURS[colour], label=label)
    axes[2].axhline(1, color=COLOURS["data"], linestyle=":")
    title = "mean field, any shape, over EoS"
    axes[2].set(xscale="log", xlabel="hidden units $d_1$", title=title, ylim=(0.5, None))
    axes[2].legend()
    return fig


@style()
def everything(kernels: xr.Dataset, network: xr.Dataset, sampled: xr.Dataset) -> Figure:
    """All of P1's kernels and networks on one axis, relative to the NNGP kernel.

    Args:
        kernels: `nc1`, `nngp` and `ntk` over d0, of the case ``figure4``.
        network: `nc1` and `nngp` over d0, of a network trained by gradient descent.
        sampled: the case ``sampled``.
    """
    fig, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(9.2, 3.6))
    lines = (
        (kernels.ntk - kernels.nngp, "NTK", "ntk"),
        (network.nc1 - network.nngp, "SGD network", "network"),
        (kernels.nc1.sel(source="released_code") - kernels.nngp, "EoS, released", "released"),
        (kernels.nc1.sel(source="theory") - kernels.nngp, "EoS", "eos"),
    )
    for values, label, colour in lines:
        curves(left, values, x="d0", color=COLOURS[colour], label=label)
    dimension_axis(left, kernels.d0.values)
    left.set_title(rf"$N$ = {int(kernels.N)}, $d_1$ = 500, $\sigma^2 = 10^{{-6}}$")
    left.set_ylabel(ABOVE_NNGP)
    marks = (
        ("ntk_nc1", "NTK", "ntk", "o"),
        ("released_code_nc1", "EoS, released", "released", "o"),
        ("theory_nc1", "EoS", "eos", "o"),
        ("nc1", "sampled network", "data", "D"),
    )
    places = _points(right, sampled)
    for name, label, colour, mark in marks:
        values = np.log10(sampled[name] / sampled.nngp_nc1)
        right.plot(places, values, mark, color=COLOURS[colour], label=label)
    right.set_title(r"$\sigma^2 = 10^{-2}$")
    for ax in (left, right):
        ax.axhline(0, color=COLOURS["nngp"], linestyle=":")
        ax.legend()
    return fig
