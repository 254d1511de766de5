"""One style, one way to save a figure, and one module for the figures of each paper.

A paper's module has the paper's key as its name and is imported when it is first asked for:
``figures.kothapalli2025.imbalance(ds)``. Each of its functions takes the arrays that a figure
shows and returns the figure.
"""

import importlib
import importlib.util

from ncutils.figures.style import (
    COLOURS,
    Saved,
    curves,
    dimension_axis,
    heatmap,
    nc1_panels,
    save,
    shades,
    style,
)

__all__ = [
    "COLOURS",
    "Saved",
    "curves",
    "dimension_axis",
    "heatmap",
    "nc1_panels",
    "save",
    "shades",
    "style",
]


def __getattr__(name: str):
    """Import a paper's figures when they are first asked for."""
    if not name.startswith("_") and importlib.util.find_spec(f"ncutils.figures.{name}"):
        return importlib.import_module(f"ncutils.figures.{name}")
    raise AttributeError(f"ncutils.figures has no {name!r}")
