"""The figures of P3, each from the labelled arrays that it shows."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncutils.figures.style import COLOURS, curves, shades, style

#: Squared error, per entry, of predicting the mean of ten classes' labels ±1.
PLATEAU = 0.36

_STAGES = {
    "input": ("nngp", r"$\Phi$"),
    "right": ("eos", r"$SV^\top\Phi$"),
    "output": ("ntk", r"$\mathrm{ReLU}(W\Phi)$"),
}
_POINTS = {
    "before": ("eos", "$X_l$"),
    "after_agop": ("ntk", "$M_l^{1/2} X_l$"),
    "after_map": ("nngp", r"$\Phi(M_l^{1/2} X_l)$"),
}
_NETS = {"relu": "nngp", "cosine": "ntk", "relu, Gaussian kernel": "eos"}
_NC1 = r"$\mathcal{NC}_1$"
_LOG_NC1 = r"$\log_{10}\,\mathcal{NC}_1$"


# --- the AGOP -------------------------------------------------------------------------------


@style()
def agop_pixels(shown: xr.Dataset) -> Figure:
    """Diagonals of four AGOPs as pictures: `kernel_diagonal` and `network_diagonal`."""
    panels = {
        "Laplace machine": shown.kernel_diagonal.sel(kernel="laplace"),
        "Gaussian machine": shown.kernel_diagonal.sel(kernel="gaussian"),
        "network, root": shown.network_diagonal.sel(matrix="root of the AGOP"),
        "network, weights": shown.network_diagonal.sel(matrix="weights"),
    }
    fig, axes = plt.subplots(1, len(panels), figsize=(8.6, 2.4))
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        image = values.mean("repeat").values.reshape(8, 8)
        ax.imshow(image / image.max(), cmap="viridis", vmin=0, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(visible=False)
    return fig


@style()
def ansatz(shown: xr.Dataset) -> Figure:
    """`correlation` of weights and AGOP by epoch, one colour a layer, and the `loss`."""
    kinds = {"root of the AGOP": "-", "AGOP": ":", "chance": "--"}
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.1))
    for layer, colour in zip(shown.layer.values, ("nngp", "ntk", "eos"), strict=True):
        for kind, line in kinds.items():
            values = shown.correlation.sel(layer=layer, compared=kind)
            label = f"layer {layer}" if kind == "root of the AGOP" else None
            curves(left, values, x="epoch", label=label, color=COLOURS[colour], linestyle=line)
    left.set(xlabel="epoch", ylabel="correlation with $W_l^\\top W_l$", ylim=(0, 1))
    left.legend(loc="lower right")
    curves(right, shown.loss, x="epoch", color=COLOURS["data"])
    right.set(xlabel="epoch", ylabel="training loss", yscale="log")
    return fig


# --- Deep RFM -------------------------------------------------------------------------------


@style()
def collapse_by_layer(shown: xr.Dataset) -> Figure:
    """`nc1` and `nc2` by layer, at three points of each."""
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.1))
    for point, (colour, label) in _POINTS.items():
        for ax, values in zip(axes, (shown.nc1, shown.nc2), strict=True):
            curves(ax, values.sel(point=point), x="layer", label=label, color=COLOURS[colour])
    for ax, label in zip(axes, (_NC1, r"$\mathcal{NC}_2$"), strict=True):
        ax.set(yscale="log", xlabel="layer $l$", ylabel=label)
    axes[0].legend()
    return fig


@style()
def gram_panels(shown: xr.Dataset) -> Figure:
    """Cosines between centred rows (`gram`), a column a layer, a row a random map."""
    fig, axes = plt.subplots(
        2, shown.sizes["panel"], figsize=(2.1 * shown.sizes["panel"], 4.3), layout="constrained"
    )
    for row, kind in zip(axes, shown.feature_map.values, strict=True):
        for ax, panel in zip(row, shown.panel.values, strict=True):
            matrix = shown.gram.sel(feature_map=kind, panel=panel)
            image = ax.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
            ax.set(title=f"{kind}, layer {panel}", xticks=[], yticks=[])
            ax.grid(visible=False)
    fig.colorbar(image, ax=axes, shrink=0.7)
    return fig


@style()
def plateau(shown: xr.Dataset) -> Figure:
    """`nc1` by layer with `predicted_nc1`, and the `response` of the random maps."""
    variants = {
        "agop": ("ntk", "as released"),
        "collapsed": ("nngp", "collapsed at the start"),
        "narrow": ("eos", "half the cosines"),
        "smooth": ("released", "Gaussian frequencies"),
    }
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.3))
    for variant, (colour, label) in variants.items():
        one = shown.sel(variant=variant, feature_map="cosine")
        curves(left, one.nc1, x="layer", label=label, color=COLOURS[colour])
        dots = one.predicted_nc1.mean("repeat")
        left.plot(dots.layer + 1, dots, "x", color=COLOURS["theory"], markersize=7, zorder=5)
    left.set(yscale="log", xlabel="layer $l$", ylabel=r"$\mathcal{NC}_1$ of $X_l$")
    left.legend()
    for tried, colour in zip(shown.tried.values, ("nngp", "ntk", "released"), strict=True):
        pair = shown.response.sel(tried=tried).mean("repeat")
        before, after = pair.sel(side="before"), pair.sel(side="after")
        right.plot(before, after, marker="o", label=tried, color=COLOURS[colour])
    right.set(xscale="log", yscale="log")
    right.set(xlabel=r"$\mathcal{NC}_1$ before the map", ylabel=r"$\mathcal{NC}_1$ after it")
    right.legend()
    return fig


@style()
def controls(shown: xr.Dataset) -> Figure:
    """`nc1` by layer with the AGOP and with others in its place, and `own_nc1` of dealt labels."""
    variants = {"agop": "ntk", "identity": "data", "random": "nngp", "shuffled": "network"}
    own = {"label": "shuffled, for those labels", "color": COLOURS["network"], "linestyle": "--"}
    fig, axes = plt.subplots(1, 2, sharey=True, figsize=(8.6, 3.2))
    for ax, kind in zip(axes, shown.feature_map.values, strict=True):
        for variant, colour in variants.items():
            values = shown.nc1.sel(variant=variant, feature_map=kind)
            curves(ax, values, x="layer", label=variant, color=COLOURS[colour])
        curves(ax, shown.own_nc1.sel(variant="shuffled", feature_map=kind), x="layer", **own)
        ax.set(yscale="log", title=kind, xlabel="layer $l$")
    axes[0].set_ylabel(r"$\mathcal{NC}_1$ of $X_l$")
    axes[1].legend(handlelength=4)
    return fig


@style()
def accuracy(shown: xr.Dataset) -> Figure:
    """`test_accuracy` by layer, with AGOP and without (`identity`), and `single` precision."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.1))
    for net, colour in _NETS.items():
        curves(left, shown.test_accuracy.sel(net=net), x="layer", label=net, color=COLOURS[colour])
    for kind in ("relu", "cosine"):
        dashed = {"label": f"{kind}, identity", "color": COLOURS[_NETS[kind]], "linestyle": "--"}
        values = shown.identity.sel(feature_map=kind)
        curves(left, values, x="layer", **dashed)
    left.set(xlabel="layer $l$", ylabel="share of test digits recognised")
    left.legend(handlelength=4, loc=(0.56, 0.1))
    for ridge, colour in (("none", "ntk"), ("1e-3", "nngp")):
        values = shown.single.sel(ridge=ridge, measure="train accuracy")
        curves(right, values, x="layer", label=f"ridge {ridge}", color=COLOURS[colour])
    right.set(xlabel="layer $l$", ylabel="share of training digits recognised", ylim=(0, 1.05))
    right.legend()
    return fig


@style()
def longer_run(shown: xr.Dataset) -> Figure:
    """`nc1` by layer for two sets and maps, and the gain of `test_accuracy` over the pixels."""
    sets = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
    fig, axes = plt.subplots(
        2, 3, figsize=(10.2, 5.6), sharex=True, sharey="col", layout="constrained"
    )
    for row, (dataset, title) in zip(axes, sets.items(), strict=True):
        one = shown.sel(dataset=dataset)
        for ax, kind in zip(row, ("relu", "cosine"), strict=False):
            for point, (colour, label) in _POINTS.items():
                values = one.nc1.sel(net=kind, point=point)
                curves(ax, values, x="layer", label=label, color=COLOURS[colour])
            ax.set(yscale="log", title=f"{title}, {kind}", ylabel=_NC1)
            right = one.test_accuracy.sel(net=kind)
            gain = right - right.sel(layer=1)
            curves(row[2], gain, x="layer", label=kind, color=COLOURS[_NETS[kind]])
        row[2].set(title=title, ylabel="gain over the pixels")
    axes[0, 0].legend()
    axes[0, 2].legend(loc="center right")
    for ax in axes[1]:
        ax.set(xlabel="layer $l$")
    return fig


# --- the theory of Deep RFM -----------------------------------------------------------------


@style()
def angles(shown: xr.Dataset) -> Figure:
    """One ReLU layer: `inner` products with their law, `ratio` of distances, `nc1` of draws."""
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 3.0))
    grey, law = COLOURS["data"], COLOURS["theory"]
    left.plot(shown.angle, np.cos(shown.angle), "--", color=grey, label="cosine")
    left.plot(shown.angle, shown.inner_law, color=law, label=r"$J(\theta)$")
    tints = shades(COLOURS["network"], shown.sizes["width"])
    for width, tint in zip(shown.width.values, tints, strict=True):
        one = shown.sel(width=width)
        band = np.sqrt(one.variance / width)
        left.errorbar(shown.angle, one.inner, band, fmt=".", color=tint, label=f"$D$ = {width}")
    left.set(xlabel=r"angle $\theta$", title="inner product after the layer")
    left.legend()
    middle.plot(shown.fine_angle, shown.ratio, color=law, label=r"ReLU, $\varrho(\theta)$")
    middle.plot(shown.fine_angle, shown.ratio_erf, "--", color=grey, label="erf")
    middle.set(xlabel=r"angle $\theta$", title="squared distance, after / before", ylim=(0.3, 1.05))
    middle.legend()
    for kind, colour in (("separated", "nngp"), ("opposed", "ntk")):
        right.plot([0, 1], shown.nc1.sel(set=kind).T, "o-", color=COLOURS[colour])
        right.plot([], [], "o-", color=COLOURS[colour], label=f"{kind} classes")
    right.set(xticks=[0, 1], xticklabels=["before", "after"], xlim=(-0.3, 1.3))
    right.set(ylabel=_LOG_NC1, title="a wide ReLU layer")
    right.legend()
    return fig


@style()
def gram_map(shown: xr.Dataset) -> Figure:
    """`error` of the Gram map by layer for two ridges, and the `plateau` with its law."""
    looks = {
        "exact": ("eos", r"$\kappa_\star$"),
        "one": ("data", r"$\kappa = 1$"),
        "printed": ("released", r"printed $\kappa$"),
    }
    steps = shown.isel(setting=[0, 3], layer=slice(0, 10))
    fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.1))
    for ax, setting in zip(axes, steps.setting.values, strict=False):
        one = steps.sel(setting=setting)
        for scale, (colour, label) in looks.items():
            ax.plot(one.layer, one.error.sel(scale=scale), "o-", color=COLOURS[colour], label=label)
        ax.axhline(float(one.remainder), color=COLOURS["ntk"], linestyle=":")
        stated = r"$\hat\lambda^2\lambda_{\mathrm{map}}^{-2}$"
        ax.text(9, 0.01 * one.remainder, stated, ha="right")
        title = setting.replace("λ_map", r"$\lambda_{\mathrm{map}}$").replace("λ̂", r"$\hat\lambda$")
        ax.set(yscale="log", xlabel="layer", title=title, ylim=(1e-16, 50))
    axes[0].set_ylabel(r"$\Vert T_l - Y^\top Y \Vert$")
    axes[0].legend(loc="center right", bbox_to_anchor=(1, 0.27))
    ridge, last = shown.small_ridge, axes[2]
    for scale in ("printed", "one"):
        (colour, label), one = looks[scale], shown.sel(scale=scale)
        last.plot(ridge, one.plateau, "o", color=COLOURS[colour])
        last.plot(ridge, one.plateau_law, color=COLOURS[colour], label=label)
    last.plot(ridge, (ridge / 1.0) ** 2, ":", color=COLOURS["ntk"], label="as stated")
    last.set(xscale="log", yscale="log", xlabel=r"$\hat\lambda$", title="what remains")
    last.legend()
    return fig


@style()
def gram_rates(shown: xr.Dataset) -> Figure:
    """Factors in a layer (`part_rate`, `rate`) with `rate_law`, and the `spectrum` with its law."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.1))
    for part, (colour, symbol) in {"mixed": ("nngp", "r"), "label": ("ntk", r"r_\Pi")}.items():
        one, color = shown.sel(part=part), COLOURS[colour]
        left.plot(one.ridge, one.rate_law, color=color, label=f"${symbol}$")
        label = f"near collapse, {part} part"
        left.plot(one.ridge, one.part_rate, "o", color=color, label=label)
    far = {"markersize": 9, "color": COLOURS["data"], "label": "far start, last factor"}
    left.plot(shown.ridge, shown.rate.mean("repeat"), "x", **far)
    left.set(xscale="log", yscale="log", xlabel=r"$\hat\lambda$", ylabel="factor in a layer")
    left.legend()
    derived = {"drawstyle": "steps-mid", "color": COLOURS["theory"], "label": "derived"}
    right.plot(shown.direction, shown.spectrum_law, **derived)
    automatic = {"color": COLOURS["network"], "label": "automatic derivative"}
    right.plot(shown.direction, shown.spectrum, ".", **automatic)
    right.set(xlabel="direction, sorted", ylabel="eigenvalue of the derivative")
    right.legend()
    return fig


@style()
def relaxed(shown: xr.Dataset) -> Figure:
    """The relaxed objective along a `line` to other kernels, and its `gap` for realised ones."""
    paths = dict(zip(shown.path.values, ("data", "ntk", "released", "network"), strict=True))
    names = {"simplex": "simplex frame", "random": "a random kernel"}
    profiles = {
        "laplace": ("nngp", "Laplace"),
        "gaussian": ("eos", "Gaussian"),
        "with a floor": ("data", "with a floor"),
    }
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
    for path, colour in paths.items():
        excess = shown.line.sel(path=path)
        label = names.get(path, path)
        left.plot(shown.share, 1 + excess, "o-", color=COLOURS[colour], label=label)
    left.set(yscale="log", xlabel="share of the other kernel", ylabel="objective / minimum")
    left.legend(title=r"from $k^\star$ to")
    for profile, (colour, label) in profiles.items():
        one = shown.sel(profile=profile)
        right.plot(shown.separation, one.gap, "o", color=COLOURS[colour], label=label)
        if profile != "with a floor":
            right.plot(shown.separation, one.gap_law, color=COLOURS[colour], linewidth=1.2)
    right.set(yscale="log", ylim=(1e-12, 20), xlabel="distance between classes, in bandwidths")
    right.set(ylabel="objective / minimum $-$ 1")
    right.legend()
    return fig


# --- layers of trained networks -------------------------------------------------------------


def split_by_layer(axes: Iterable[Axes], log_nc1: xr.DataArray, *, captions: bool = True) -> None:
    r"""One pane a layer: log NC1 of what enters it, after $S V^\top$, and after all of it.

    Args:
        axes: as many as layers.
        log_nc1: decimal logarithm, over repeat, epoch, layer and stage.
        captions: whether to name layers, the horizontal axis and the curves.
    """
    axes = list(axes)
    for ax, layer in zip(axes, log_nc1.layer.values, strict=True):
        for stage, (colour, label) in _STAGES.items():
            values = log_nc1.sel(layer=layer, stage=stage)
            curves(ax, values, x="epoch", label=label, color=COLOURS[colour])
        if captions:
            ax.set(title=f"layer {layer}", xlabel="epoch")
    axes[0].set_ylabel(_LOG_NC1)
    if captions:
        axes[0].legend(loc="lower left")


def along_training(axes: Iterable[Axes], ds: xr.Dataset, *, captions: bool = True) -> None:
    """Three panes: shares of the variance, correlations by layer, log loss.

    Args:
        axes: three of them.
        ds: `shares`, `nfa`, `chance` and `loss` of one setting.
        captions: whether to title the panes and to name the curves.
    """
    left, middle, right = axes
    for part, colour in (("within", "ntk"), ("between", "nngp")):
        curves(left, ds.shares.sel(part=part), x="epoch", label=part, color=COLOURS[colour])
    tints = shades(COLOURS["network"], ds.sizes["layer"])
    for layer, tint in zip(ds.layer.values, tints, strict=True):
        curves(middle, ds.nfa.sel(layer=layer), x="epoch", label=f"layer {layer}", color=tint)
    chance = {"label": "random basis", "color": COLOURS["data"], "linestyle": "--"}
    curves(middle, ds.chance.mean("layer"), x="epoch", **chance)
    middle.set_ylim(-0.02, 1.02)
    curves(right, np.log10(ds.loss), x="epoch", color=COLOURS["data"])
    right.axhline(np.log10(PLATEAU), color=COLOURS["released"], linestyle=":")
    for ax in (left, middle, right):
        ax.set_xlabel("epoch")
    if captions:
        left.set_title("share of the variance, last layer")
        middle.set_title("correlation")
        right.set_title(r"$\log_{10}$ training loss")
        left.legend()
        middle.legend(fontsize="small", ncols=2)


@style()
def layers(shown: xr.Dataset) -> Figure:
    """Decimal logarithm of NC1 (`nc1`) by epoch, a pane a layer, at three points of each."""
    fig, axes = plt.subplots(1, shown.sizes["layer"], sharey=True, figsize=(10.5, 2.9))
    split_by_layer(axes, shown.nc1)
    return fig


@style()
def training(shown: xr.Dataset) -> Figure:
    """`shares` of the variance, correlations `nfa` and `chance`, and the `loss` by epoch."""
    fig, axes = plt.subplots(1, 3, figsize=(10.2, 3.1))
    along_training(axes, shown)
    return fig


@style()
def shares(shown: xr.Dataset) -> Figure:
    """Each part's `share` of the fall of log NC1 by layer, and of the `whole` by gain."""
    gains = shown.gain.values
    usual = 0.2 if 0.2 in gains else gains[0]
    kinds = {
        "right": ("eos", "-", r"$SV^\top$"),
        "ansatz": ("ntk", "-", r"$\mathrm{AGOP}^{1/4}$"),
        "random": ("data", "--", "$S$, random $V$"),
    }
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.1))
    for gain, tint in zip(gains, shades(COLOURS["eos"], len(gains)), strict=True):
        values = shown.share.sel(gain=gain, stage="right")
        curves(left, values, x="layer", label=f"gain {gain:g}", color=tint)
    random = {"label": "random $V$", "color": COLOURS["data"], "linestyle": "--"}
    curves(left, shown.share.sel(gain=usual, stage="random"), x="layer", **random)
    left.set(xlabel="layer", ylabel="share of the drop", xticks=shown.layer.values)
    left.legend(ncols=3, loc="center", bbox_to_anchor=(0.5, 0.44), fontsize="small")
    for kind, (colour, line, label) in kinds.items():
        look = {"label": label, "color": COLOURS[colour], "linestyle": line}
        curves(right, shown.whole.sel(stage=kind), x="gain", **look)
    right.set(xlabel="gain of the first weights", title="all layers together")
    right.legend(loc="center right", bbox_to_anchor=(1, 0.36))
    for ax in (left, right):
        ax.axhline(0.5, color=COLOURS["data"], linewidth=0.8)
    return fig


@style()
def initial_scale(shown: xr.Dataset) -> Figure:
    """Log NC1 after each layer (`nc1`), and that of the last (`last_nc1`) against the `loss`."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2), sharey=True)
    tints = shades(COLOURS["nngp"], shown.sizes["gain"])
    for gain, tint in zip(shown.gain.values, tints, strict=True):
        one = shown.sel(gain=gain)
        curves(left, one.nc1, x="layer", label=f"gain {gain:g}", color=tint)
        loss = np.log10(one.loss).mean("repeat")
        right.plot(loss, one.last_nc1.mean("repeat"), "o-", color=tint)
    left.set(xlabel="layer", ylabel=_LOG_NC1 + " after it", xticks=shown.layer.values)
    left.legend()
    right.set(xlabel=r"$\log_{10}$ training loss", title="last hidden layer, along training")
    right.invert_xaxis()
    return fig


def _of_trunks(shown: xr.Dataset) -> dict[str, xr.Dataset]:
    """The first data set of each trunk, at the epochs that it was measured at."""
    one = shown.isel(dataset=0)
    return {
        f"{trunk} trunk": one.sel(trunk=name).dropna("epoch", how="all")
        for name, trunk in (("resnet", "residual"), ("vgg", "VGG"))
    }


@style()
def layers_of_heads(shown: xr.Dataset) -> Figure:
    """As `layers`, for heads on two trunks, from `nc1` itself."""
    fig, axes = plt.subplots(
        2, shown.sizes["layer"], sharey="row", figsize=(10.5, 5.2), squeeze=False
    )
    for k, (row, (trunk, one)) in enumerate(zip(axes, _of_trunks(shown).items(), strict=True)):
        split_by_layer(row, np.log10(one.nc1), captions=k == 0)
        row[0].set_ylabel(trunk + "\n" + row[0].get_ylabel())
    return fig


@style()
def training_of_heads(shown: xr.Dataset) -> Figure:
    """As `training`, for heads on two trunks."""
    fig, axes = plt.subplots(2, 3, figsize=(10.2, 5.6))
    for k, (row, (trunk, one)) in enumerate(zip(axes, _of_trunks(shown).items(), strict=True)):
        along_training(row, one, captions=k == 0)
        row[0].set_ylabel(trunk)
    return fig
