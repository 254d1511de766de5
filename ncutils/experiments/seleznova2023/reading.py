"""How results on networks are read: which runs count, what goes with what, how kernels look."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.stats import rankdata, spearmanr

from ncutils import linalg, metrics
from ncutils.experiments.seleznova2023.measures import FIT, fitted

__all__ = [
    "alignment",
    "at_fit",
    "beyond_setting",
    "block_values",
    "by_chance",
    "component_ratio",
    "dealt",
    "examples",
    "fitted",
    "labels",
    "over_seeds",
    "rank_correlation",
    "together",
    "top",
    "unexplained",
    "worst_over_seeds",
]

CLASSES = 10


def at_fit(ds: xr.Dataset, *, accuracy: float = FIT) -> xr.Dataset:
    """Each run at the first recorded epoch at which it fits its training set, else at the last."""
    reached = ds.train_accuracy.values >= accuracy
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), reached.shape[1] - 1)
    return ds.isel(epoch=xr.DataArray(first, dims="run"))


def top(ds: xr.Dataset, *, margin: float = 0.03) -> xr.Dataset:
    """The runs whose final test accuracy is within `margin` of the best one's."""
    accuracy = ds.test_accuracy.isel(epoch=-1).values
    return ds.isel(run=np.flatnonzero(accuracy >= accuracy.max() - margin))


def rank_correlation(a, b) -> float:
    """Spearman's rank correlation; NaN for fewer than three pairs or a constant."""
    a, b = (np.asarray(v, float) for v in (a, b))
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def by_chance(a, b, *, draws: int = 500, seed: int = 0) -> float:
    """The size that the rank correlation exceeds in one of twenty shuffles of the runs.

    The shuffles are those of one seed, so that a control is the same number each time;
    `scipy.stats.permutation_test` would give the same up to its own draws.
    """
    if np.isnan(rank_correlation(a, b)):
        return float("nan")
    rng, (a, b) = np.random.default_rng(seed), (rankdata(np.asarray(v, float)) for v in (a, b))
    sizes = [abs(np.corrcoef(a, rng.permutation(b))[0, 1]) for _ in range(draws)]
    return float(np.quantile(sizes, 0.95))


def over_seeds(ds: xr.Dataset, a: str, b: str) -> float:
    """Standard deviation over seeds of the rank correlation of two variables."""
    values = [rank_correlation(part[a].values, part[b].values) for _, part in ds.groupby("seed")]
    return float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else float("nan")


def together(ds: xr.Dataset, a: str, b: str, *, sign: int = 1) -> dict[str, float]:
    """How two variables go together over runs, as a claim is told it.

    Args:
        ds: runs at one epoch. a, b: names of variables.
        sign: of the correlation that is expected.

    Returns:
        `value`, the rank correlation; `control`, what one of twenty shuffles reaches with this
        sign; `spread`, the standard deviation over seeds.
    """
    return {
        "value": rank_correlation(ds[a], ds[b]),
        "control": sign * by_chance(ds[a], ds[b]),
        "spread": over_seeds(ds, a, b),
    }


def beyond_setting(ds: xr.Dataset, values) -> np.ndarray:
    """What is left of `values` without the mean over the seeds of each setting; NaN if single."""
    grid = zip(ds.init.values, ds.learning_rate.values, strict=True)
    settings = np.array([f"{init} {rate}" for init, rate in grid])
    values, left = np.asarray(values, float), np.full(len(settings), np.nan)
    for setting in np.unique(settings):
        rows = settings == setting
        if rows.sum() > 1:
            left[rows] = values[rows] - values[rows].mean()
    return left


# --- kernels of trained networks ----------------------------------------------------------------


def labels(traced: xr.DataArray) -> np.ndarray:
    """Labels of the samples of a traced kernel: sorted by class, equally many of each."""
    return np.repeat(np.arange(CLASSES), traced.sizes["sample"] // CLASSES)


def dealt(y: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """The same labels, dealt out at random: what no block structure looks like."""
    return np.random.default_rng(seed).permutation(y)


def block_values(traced: xr.DataArray, y: np.ndarray) -> xr.DataArray:
    """Means of the diagonal, over pairs of a class, and over pairs of two classes, of each run."""
    values = linalg.block_values(_matrices(traced), y, num_classes=CLASSES)
    return xr.DataArray(
        np.asarray(values), dims=("run", "value"), coords={"value": ["diag", "within", "across"]}
    )


def unexplained(traced: xr.DataArray, y: np.ndarray) -> np.ndarray:
    """Share of the variance of each run's entries off the diagonal that lies within blocks."""
    same, other = y[:, None] == y[None, :], ~np.eye(len(y), dtype=bool)
    kernels = _matrices(traced)
    within = sum(chosen.sum() * kernels[:, chosen].var(axis=1) for chosen in (same & other, ~same))
    return within / (other.sum() * kernels[:, other].var(axis=1))


def alignment(traced: xr.DataArray, y: np.ndarray) -> np.ndarray:
    """Cosine of each run's traced kernel with the matrix of equal labels."""
    one = jax.vmap(metrics.label_alignment, in_axes=(0, None))
    return np.asarray(one(_matrices(traced), jnp.asarray(y)))


def _matrices(traced: xr.DataArray) -> np.ndarray:
    return traced.transpose("run", "sample", "sample2").values.astype(float)


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


def worst_over_seeds(datasets: Sequence[xr.Dataset], values: Sequence) -> float:
    """Standard deviation over seeds of the smallest of a seed's values; NaN for one seed."""
    seeds = np.concatenate([ds.seed.values for ds in datasets])
    values = np.concatenate([np.asarray(v) for v in values])
    smallest = [values[seeds == seed].min() for seed in np.unique(seeds)]
    return float(np.std(smallest, ddof=1)) if len(smallest) > 1 else float("nan")
