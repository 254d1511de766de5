"""How the results on networks are read: which runs count, when they fit, what goes with what."""

import numpy as np
import xarray as xr

FIT = 0.99  # share of the training set; P2 draws its line at 0.999 of some fifty thousand


def fitted(ds: xr.Dataset, *, accuracy: float = FIT) -> xr.Dataset:
    """The runs that did not diverge and fit their training set at the end.

    Where not even three do, as at scale smoke, all that did not diverge.
    """
    last = ds.isel(epoch=-1)
    alive = ~ds.diverged.values & np.isfinite(last.nc1.values)
    fit = alive & (last.train_accuracy.values >= accuracy)
    return ds.isel(run=np.flatnonzero(fit if fit.sum() >= 3 else alive))


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
    # mean rank among equals: values below, and half of those that are the same
    ranks = [(v[:, None] > v).sum(axis=1) + 0.5 * (v[:, None] == v).sum(axis=1) for v in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def by_chance(a, b, *, draws: int = 500, seed: int = 0) -> float:
    """The size that the rank correlation exceeds in one of twenty shuffles of the runs."""
    rng, b = np.random.default_rng(seed), np.asarray(b)
    sizes = [abs(rank_correlation(a, rng.permutation(b))) for _ in range(draws)]
    return float(np.quantile(sizes, 0.95))


def over_seeds(ds: xr.Dataset, a: str, b: str) -> float:
    """Standard deviation over seeds of the rank correlation of two variables."""
    values = [rank_correlation(part[a].values, part[b].values) for _, part in ds.groupby("seed")]
    return float(np.nanstd(values, ddof=1)) if np.isfinite(values).sum() > 1 else float("nan")


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
