"""Figures from labelled arrays: one style, one function for each kind of figure.

Nothing here computes: a figure can be drawn again from its saved arrays alone.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncutils._files import write_atomically
from ncutils.records import results, workspace

STYLE = Path(__file__).with_name("nc.mplstyle")

# Colour by meaning, the same on every page; distinguishable without red-green vision.
COLOURS = {
    "data": "#6b7280",
    "nngp": "#0072B2",
    "ntk": "#D55E00",
    "eos": "#009E73",
    "network": "#CC79A7",
    "released": "#E69F00",
    "theory": "#56B4E9",
}
_DARK = {"#1b2a38": "#d5dce4", "#ffffff": "#14181e", "#dfe4e9": "#363e48"}


@contextlib.contextmanager
def style():
    """The book's style, for the figures made inside `with plotting.style():`."""
    with plt.style.context(STYLE):
        yield


@dataclasses.dataclass(frozen=True)
class Saved:
    """A saved figure; a notebook shows it as a picture with its alternative text."""

    id: str
    picture: bytes = dataclasses.field(repr=False)
    alt: str
    kind: str = "image/png"

    def _repr_mimebundle_(self, include=None, exclude=None):  # noqa: ARG002
        picture = self.picture.decode() if self.kind == "image/svg+xml" else self.picture
        return {self.kind: picture, "text/plain": f"{self.id}: {self.alt}"}


def save(fig: Figure, figure_id: str, *, scale: str, data: xr.Dataset, alt: str) -> Saved:
    """Write a figure as SVG (for light and dark pages) and PNG, with the arrays it shows.

    At smoke scale there is no PNG: it is for taking along, and drawing takes most of the
    time of a page.

    Args:
        fig: the figure; closed afterwards.
        figure_id: file stem, such as "p1-fig2".
        scale: "smoke", "quick" or "paper"; files go to `_build/<scale>/figures/`.
        data: the plotted arrays. Attributes `scale`, `seeds`, `device` and `seconds`, as
            `results.save` leaves them, end up in the figure's provenance line.
        alt: what a reader who cannot see the figure should know.

    Returns:
        An object that a notebook shows as the picture.

    With `NCUTILS_PICTURES=0` in the environment the arrays are written and nothing is drawn:
    for running a page again whose pictures there are, since drawing takes most of its time.

    Raises:
        ValueError: without alternative text, with an id that is no file stem, or
            without arrays.
    """
    if len(alt.split()) < 5:
        raise ValueError(
            f"figure {figure_id}: alt text of a sentence or more is needed, got {alt!r}"
        )
    if not figure_id or not set(figure_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise ValueError(f"figure id {figure_id!r}: lower-case letters, digits and hyphens only")
    if not data.data_vars:
        raise ValueError(f"figure {figure_id}: the plotted arrays are needed beside the picture")
    folder = workspace.build_dir(scale) / "figures"

    def put(suffix: str, writer) -> str:
        return write_atomically(folder / f"{figure_id}{suffix}", writer).name

    def svg(part: Path) -> None:
        with style():  # also for its hash salt: the same arrays give the same file
            fig.savefig(part, format="svg", metadata={"Date": None})

    files, picture, kind = {}, b"", "image/svg+xml"
    if os.environ.get("NCUTILS_PICTURES", "1") != "0":
        files["svg"] = put(".svg", svg)
        fig.set_layout_engine("none")  # it has found its places; a second drawing keeps them
        drawing = (folder / files["svg"]).read_text(encoding="utf-8")
        for light, dark in _DARK.items():
            drawing = drawing.replace(light, dark)
        files["dark_svg"] = put(
            ".dark.svg", lambda part: part.write_text(drawing, encoding="utf-8")
        )
        picture = (folder / files["svg"]).read_bytes()
        if scale != "smoke":
            files["png"] = put(".png", lambda part: fig.savefig(part, format="png", dpi=150))
            picture, kind = (folder / files["png"]).read_bytes(), "image/png"
    plt.close(fig)
    files["nc"] = results.write(data, folder / f"{figure_id}.nc").name
    if np.prod([*data.sizes.values(), 1]) <= 50_000:
        files["csv"] = put(".csv", lambda part: data.to_dataframe().to_csv(part))
    about = {
        "id": figure_id,
        "alt": alt,
        "scale": data.attrs.get("scale", scale),  # that of a longer, archived run is its own
        "page": os.environ.get("NCUTILS_PAGE", ""),
        "commit": workspace.commit(),
        "device": data.attrs.get("device", results.device()),
        "seconds": data.attrs.get("seconds"),
        "seeds": data.attrs.get("seeds"),
        "variables": list(map(str, data.data_vars)),
        "files": files,
    }
    text = json.dumps(about, indent=1, ensure_ascii=False, default=str)
    put(".json", lambda part: part.write_text(text, encoding="utf-8"))
    return Saved(figure_id, picture, alt, kind)


def shades(colour: str, count: int) -> list:
    """`count` colours from a light tint of `colour` to the colour itself."""
    import seaborn as sns  # brings all of scipy.stats: a second that half of the pages can save

    return sns.light_palette(colour, n_colors=count + 2)[2:]


def curves(
    ax: Axes,
    values: xr.DataArray,
    *,
    x: str,
    spread: str = "repeat",
    label: str | None = None,
    **line,
) -> None:
    """A line for the mean over repeats and a band of one standard deviation each way.

    Args:
        ax: where to draw.
        values: array with dimensions `x` and `spread`; NaN is skipped, so that a
            masked repeat leaves the others.
        x: dimension of the horizontal axis, with numbers as coordinate.
        spread: dimension of the repeats.
        label: for the legend.
        line: passed on to `Axes.plot`.
    """
    mean, std = values.mean(spread), values.std(spread)
    at = values[x].values
    (drawn,) = ax.plot(at, mean.transpose(x), label=label, **{"marker": "o", **line})
    band = ((mean - std).values, (mean + std).values)
    ax.fill_between(at, *band, color=drawn.get_color(), alpha=0.18, linewidth=0)


def dimension_axis(ax: Axes, dims: Iterable, label: str = "input dimension $d_0$") -> None:
    """A base-2 logarithmic axis with a tick at each input dimension."""
    ax.set_xscale("log", base=2)
    ticks = [int(d) for d in dims]
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()
    ax.set_xlabel(label)


def nc1_panels(
    ds: xr.Dataset,
    panels: Mapping[str, tuple[str, str]],
    *,
    lines: str = "N",
    x: str = "d0",
    label: str = "$N$ = {}",
) -> Figure:
    r"""Panels of $\log_{10} \mathcal{NC}_1$ against the input dimension, sharing one axis.

    Args:
        ds: variables with dimensions (`lines`, `x`, "repeat").
        panels: variable → (title, key of `COLOURS`).
        lines: dimension with one curve for each value, from light to dark.
        x: dimension of the horizontal axis.
        label: legend entry for a value of `lines`.

    Returns:
        The figure.
    """
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(2.45 * len(panels) + 0.5, 2.9)
    )
    for ax, (name, (title, colour)) in zip(axes[0], panels.items(), strict=True):
        tints = shades(COLOURS[colour], ds.sizes[lines])
        for value, tint in zip(ds[lines].values, tints, strict=True):
            curves(ax, ds[name].sel({lines: value}), x=x, label=label.format(value), color=tint)
        dimension_axis(ax, ds[x].values)
        ax.set_title(title)
        ax.legend()
    axes[0, 0].set_ylabel(r"$\log_{10}\,\mathcal{NC}_1$")
    return fig


def heatmap(
    ax: Axes, matrix: xr.DataArray, *, sizes: Iterable = (), title: str = "", **image
) -> None:
    """A matrix as a picture, with lines between the classes and a colour bar.

    Args:
        ax: where to draw.
        matrix: two-dimensional, rows sorted by class.
        sizes: class sizes in that order; none draws no lines.
        title: above the picture.
        image: passed on to `Axes.imshow`.
    """
    picture = ax.imshow(matrix.values, interpolation="nearest", **image)
    for edge in np.cumsum(list(sizes))[:-1]:
        ax.axhline(edge - 0.5, color="white", linewidth=0.9)
        ax.axvline(edge - 0.5, color="white", linewidth=0.9)
    ax.grid(visible=False)
    ax.set_title(title)
    ax.figure.colorbar(picture, ax=ax, shrink=0.85)
