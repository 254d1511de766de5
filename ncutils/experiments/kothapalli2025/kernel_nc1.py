r"""P1, Section 4: NC1 read off a kernel, what class sizes do to it, and the same on digits.

Cells: ``random_features`` (Theorem 4.1 and Fig. 1), ``imbalance`` (two Gaussian classes
of unequal size), ``digits`` (NNGP and NTK kernels by depth and number of classes).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from ncutils import data, kernels, metrics
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._sweeps import FORMULAS, KERNELS, draws, sweep
from ncutils.records import workspace

CELLS = ("random_features", "imbalance", "digits")
ROUTES = ("features", "exact", "as_printed", "without_diagonal")
INPUTS = ("normalised", "raw")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        sizes: class sizes of each set.
        dims: d₀, the input dimensions (``random_features``: of the features).
        panels: class sizes of each heat map, of one total.
        means, std: of the Gaussian classes, as `data.gaussian_mixture` takes them.
        per_class, classes, depths: digits of each class, numbers of classes, hidden layers.
    """

    cell: str
    seeds: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...] = ()
    dims: tuple[int, ...] = ()
    means: tuple[float, ...] = (-2.0, 2.0)
    std: float = 0.5
    panels: tuple[tuple[int, int], ...] = ()
    per_class: int = 0
    classes: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale; "paper" has the paper's own sizes."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if cell == "random_features":
            sizes = ((40, 40), (30, 30, 30), (20, 60), (10, 20, 60))
            n = (32, 128, 128)[level]
            return cls(
                cell,
                seeds=tuple(range((3, 10, 10)[level])),
                sizes=sizes,
                dims=(16,),
                panels=((n, n), (n // 2, n + n // 2)),
            )
        if cell == "imbalance":
            total = (128, 2048, 2048)[level]
            return cls(
                cell,
                seeds=tuple(range((2, 3, 10)[level])),
                sizes=tuple((total * k // 8, total - total * k // 8) for k in (4, 3, 2, 1)),
                dims=((2, 8), (1, 2, 8, 32, 128), (1, 2, 8, 32, 128))[level],
            )
        return cls(
            cell,
            seeds=tuple(range((2, 4, 10)[level])),
            per_class=(8, 50, 200)[level],
            classes=((2, 10), tuple(range(2, 11)), tuple(range(2, 11)))[level],
            depths=((1, 2), (1, 2, 3, 4, 5, 8, 16), (1, 2, 3, 4, 5, 8, 16, 32))[level],
        )


def covariance_traces(H: np.ndarray, y: np.ndarray, num_classes: int) -> tuple[float, float]:
    """Tr Σ_W and Tr Σ_B from the two covariance matrices, as they are defined."""
    means = np.stack([H[y == c].mean(axis=0) for c in range(num_classes)])
    within, between = H - means[y], means - H.mean(axis=0)
    return (
        float(np.trace(within.T @ within / len(H))),
        float(np.trace(between.T @ between / num_classes)),
    )


def without_diagonal(K: np.ndarray, y: np.ndarray, num_classes: int) -> tuple[float, float]:
    """A broken variant for balanced classes: means over pairs of *different* samples."""
    per_class = len(y) // num_classes
    average = np.eye(num_classes)[y] / per_class
    blocks = average.T @ (K - np.diag(np.diag(K))) @ average
    np.fill_diagonal(blocks, np.diag(blocks) * per_class / (per_class - 1))
    own = np.diag(blocks).mean()
    return float(np.diag(K).mean() - own), float(own - blocks.mean())


def _random_features(config: Config) -> xr.Dataset:
    found = np.empty((len(config.sizes), len(config.seeds), len(ROUTES), 2))
    for i, sizes in enumerate(config.sizes):
        C = len(sizes)
        for j, seed in enumerate(config.seeds):
            rng = np.random.default_rng((seed, i))
            y = rng.permutation(np.repeat(np.arange(C), sizes))
            H = rng.normal(size=(C, config.dims[0]))[y] + rng.normal(size=(len(y), config.dims[0]))
            K = H @ H.T
            found[i, j, 0] = covariance_traces(H, y, C)
            for k, formula in enumerate(FORMULAS, start=1):
                traces = metrics.kernel_nc1(
                    jnp.asarray(K), jnp.asarray(y), num_classes=C, weighting=formula
                )
                found[i, j, k] = traces.within, traces.between
            found[i, j, 3] = without_diagonal(K, y, C)
    pictures, signs = _heat_maps(config)
    return xr.Dataset(
        {
            "trace": (("sizes", "repeat", "route", "part"), found),
            "kernel": (("panel", "i", "j"), pictures),
            "smallest_signed": (("panel", "repeat", "activation"), signs),
        },
        coords={
            "sizes": ["/".join(map(str, sizes)) for sizes in config.sizes],
            "repeat": list(config.seeds),
            "route": list(ROUTES),
            "part": ["within", "between"],
            "panel": ["/".join(map(str, sizes)) for sizes in config.panels],
            "activation": list(kernels.ACTIVATIONS),
        },
    )


def _heat_maps(config: Config):
    """Fig. 1: Q of erf for points of the plane, and min over pairs of ±Q, + in a class."""
    total = sum(config.panels[0])
    pictures = np.empty((len(config.panels), total, total), np.float32)
    signs = np.empty((len(config.panels), len(config.seeds), len(kernels.ACTIVATIONS)))
    for i, sizes in enumerate(config.panels):
        X, y = draws(config.seeds, means=config.means, sizes=sizes, std=config.std, dim=2, width=2)
        sign = np.where(np.asarray(y)[:, None] == np.asarray(y)[None, :], 1.0, -1.0)
        for j, x in enumerate(X):
            for k, activation in enumerate(kernels.ACTIVATIONS):
                Q = np.asarray(kernels.nngp(x, activation=activation))
                signs[i, j, k] = (sign * Q).min()
                if j == 0 and activation == "erf":
                    pictures[i] = Q
    return pictures, signs


def _imbalance(config: Config) -> xr.Dataset:
    found = sweep(
        config.sizes, dims=config.dims, means=config.means, std=config.std, seeds=config.seeds
    )
    return xr.Dataset(
        {"log10_nc1": (("sizes", "d0", "repeat", "kernel", "formula"), found)},
        coords={
            "sizes": ["/".join(map(str, sizes)) for sizes in config.sizes],
            "share": ("sizes", [min(sizes) / sum(sizes) for sizes in config.sizes]),
            "d0": list(config.dims),
            "repeat": list(config.seeds),
            "kernel": list(KERNELS),
            "formula": list(FORMULAS),
        },
    )


def _digits(config: Config) -> xr.Dataset:
    whole = data.load("mnist5k")
    names = ["nngp_erf", "ntk_erf", "nngp_relu", "ntk_relu"]
    shape = (len(config.seeds), len(INPUTS), len(config.classes))
    pixels, norms = np.empty(shape), np.empty(shape)
    found = np.empty((*shape, len(config.depths), len(names)))
    for i, seed in enumerate(tqdm(config.seeds, desc="digits")):
        raw, y = ordered_digits(whole, config.per_class, seed)
        for j, X in enumerate((unit_rows(raw), raw)):
            for k, C in enumerate(config.classes):
                n = C * config.per_class
                size = jnp.linalg.norm(X[:n], axis=1, keepdims=True)
                pixels[i, j, k] = metrics.nc1(X[:n], y[:n], num_classes=C)
                norms[i, j, k] = metrics.nc1(size, y[:n], num_classes=C) if j else np.nan
            for m, depth in enumerate(config.depths):
                both = [
                    K
                    for activation in ("erf", "relu")
                    for K in kernels.nngp_and_ntk(X, activation=activation, depth=depth)
                ]
                for k, C in enumerate(config.classes):
                    n = C * config.per_class
                    found[i, j, k, m] = [
                        metrics.kernel_nc1(K[:n, :n], y[:n], num_classes=C).ratio for K in both
                    ]
    by = ("repeat", "inputs", "classes")
    return xr.Dataset(
        {
            "log10_nc1": ((*by, "depth", "kernel"), np.log10(found)),
            "log10_pixels": (by, np.log10(pixels)),
            "log10_norms": (by, np.log10(norms)),
        },
        coords={
            "repeat": list(config.seeds),
            "inputs": list(INPUTS),
            "classes": list(config.classes),
            "depth": list(config.depths),
            "kernel": names,
            "per_class": config.per_class,
        },
    )


def unit_rows(X: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows stretched to norm √d, so that every K_ii of a first layer is 1."""
    return X / jnp.linalg.norm(X, axis=1, keepdims=True) * math.sqrt(X.shape[1])


def ordered_digits(
    whole: data.Dataset, per_class: int, seed: int
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    """Digits sorted by class, with the classes in an order that the seed decides.

    The first C·per_class rows are then C classes chosen at random.
    """
    key = jax.random.key(seed)
    subset = data.balanced_subset(whole, per_class, key=key)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), whole.num_classes))
    X = subset.flat.reshape(whole.num_classes, per_class, -1)[order]
    y = np.repeat(np.arange(whole.num_classes), per_class)
    return jnp.asarray(X.reshape(len(y), -1)), jnp.asarray(y)


_RUN = {"random_features": _random_features, "imbalance": _imbalance, "digits": _digits}


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in _RUN:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _RUN[config.cell](config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("random_features", "smoke"),
    quick=Config.at("random_features", "quick"),
    paper=Config.at("random_features", "paper"),
)
def random_features(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("imbalance", "smoke"),
    quick=Config.at("imbalance", "quick"),
    paper=Config.at("imbalance", "paper"),
)
def imbalance(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("digits", "smoke"),
    quick=Config.at("digits", "quick"),
    paper=Config.at("digits", "paper"),
)
def digits(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
