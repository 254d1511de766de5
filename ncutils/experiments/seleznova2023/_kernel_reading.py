r"""How tangent kernels of trained networks are read: blocks, and components between outputs."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ncutils.experiments.seleznova2023._network_reading import fitted

__all__ = [
    "alignment",
    "block_values",
    "component_ratio",
    "dealt",
    "examples",
    "fitted",
    "labels",
    "over_seeds",
    "same_setting",
    "unexplained",
]

CLASSES = 10


def labels(traced: xr.DataArray) -> np.ndarray:
    """Labels of the samples of a traced kernel: sorted by class, equally many of each."""
    return np.repeat(np.arange(CLASSES), traced.sizes["sample"] // CLASSES)


def dealt(y: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The same labels, dealt out at random: what no block structure looks like."""
    return np.random.default_rng(seed).permutation(y)


def block_values(traced: xr.DataArray, y: np.ndarray) -> xr.DataArray:
    """Means of the diagonal, over pairs of a class, and over pairs of two classes, of each run."""
    same = y[:, None] == y[None, :]
    diagonal = np.eye(len(y), dtype=bool)
    kernels = traced.transpose("run", "sample", "sample2").values.astype(float)
    means = [kernels[:, chosen].mean(axis=1) for chosen in (diagonal, same & ~diagonal, ~same)]
    return xr.DataArray(
        np.stack(means, axis=1),
        dims=("run", "value"),
        coords={"value": ["diag", "within", "across"]},
    )


def unexplained(traced: xr.DataArray, y: np.ndarray) -> np.ndarray:
    """Share of the variance of each run's entries off the diagonal that lies within blocks."""
    same, other = y[:, None] == y[None, :], ~np.eye(len(y), dtype=bool)
    kernels = traced.transpose("run", "sample", "sample2").values.astype(float)
    within = sum(chosen.sum() * kernels[:, chosen].var(axis=1) for chosen in (same & other, ~same))
    return within / (other.sum() * kernels[:, other].var(axis=1))


def alignment(traced: xr.DataArray, y: np.ndarray) -> np.ndarray:
    """Cosine of each run's traced kernel with the matrix of equal labels."""
    same = (y[:, None] == y[None, :]).astype(float)
    kernels = traced.transpose("run", "sample", "sample2").values.astype(float)
    sizes = np.linalg.norm(kernels, axis=(1, 2)) * np.linalg.norm(same)
    return (kernels * same).sum(axis=(1, 2)) / sizes


def component_ratio(norms: xr.DataArray, *, dead: float = 1e-6) -> xr.DataArray:
    r"""Norms of the components k ≠ s, relative to the geometric mean of those of k and s alone.

    Args:
        norms: runs × k × k, by any names of the last two dimensions.
        dead: outputs whose own component is below this share of the largest are left out.

    Returns:
        The same shape, NaN where k = s or an output is dead.
    """
    values = norms.values.astype(float)
    own = np.diagonal(values, axis1=1, axis2=2).copy()
    # a run without norms has NaN everywhere, and keeps it
    own[own <= dead * np.max(own, axis=1, keepdims=True)] = np.nan
    ratio = values / np.sqrt(own[:, :, None] * own[:, None, :])
    ratio[:, np.eye(values.shape[1], dtype=bool)] = np.nan
    return norms.copy(data=ratio)


def examples(fit: xr.Dataset) -> xr.Dataset:
    """Of the runs with components, the one that collapsed most and the one that did least."""
    known = np.flatnonzero(np.isfinite(fit.norms_outputs).all(("k", "s")))
    known = known if known.size else np.arange(fit.sizes["run"])
    ends = fit.nc1.isel(epoch=-1).values[known]
    return fit.isel(run=known[[int(np.argmin(ends)), int(np.argmax(ends))]])


def same_setting(fit: xr.Dataset, example: xr.Dataset) -> xr.Dataset:
    """All runs with the initialisation and the learning rate of one of them."""
    same = (fit.init == example.init) & (fit.learning_rate == example.learning_rate)
    return fit.isel(run=np.flatnonzero(same))


def over_seeds(datasets: Sequence[xr.Dataset], values: Sequence) -> float:
    """Standard deviation over seeds of the smallest of a seed's values; NaN for one seed."""
    seeds = np.concatenate([ds.seed.values for ds in datasets])
    values = np.concatenate([np.asarray(v) for v in values])
    smallest = [values[seeds == seed].min() for seed in np.unique(seeds)]
    return float(np.std(smallest, ddof=1)) if len(smallest) > 1 else float("nan")
