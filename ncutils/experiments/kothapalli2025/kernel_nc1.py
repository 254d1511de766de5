r"""P1, Section 4: NC1 read off a kernel, what class sizes do to it, and the same on digits."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import data, kernels, metrics
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._digits import INPUTS, both_inputs, ordered_digits
from ncutils.experiments.kothapalli2025._gaussians import FORMULAS, KERNELS, draws, sweep

ROUTES = ("features", "exact", "as_printed", "without_diagonal")


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


@dataclass(frozen=True)
class RandomFeatures:
    """Random features with their class sizes, and the heat maps of Fig. 1.

    Attributes:
        seeds: one for each repeat.
        panels: class sizes of each heat map, of one total.
        sizes: class sizes of each set.
        dim: of the features.
        means, std: of the Gaussian classes of the heat maps.
    """

    seeds: tuple[int, ...]
    panels: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[int, ...], ...] = ((40, 40), (30, 30, 30), (20, 60), (10, 20, 60))
    dim: int = 16
    means: tuple[float, ...] = (-2.0, 2.0)
    std: float = 0.5


@case(
    smoke=RandomFeatures(seeds=tuple(range(3)), panels=((32, 32), (16, 48))),
    quick=RandomFeatures(seeds=tuple(range(10)), panels=((128, 128), (64, 192))),
    paper=RandomFeatures(seeds=tuple(range(10)), panels=((128, 128), (64, 192))),
)
def random_features(config: RandomFeatures) -> xr.Dataset:
    """Theorem 4.1: both traces by each of `ROUTES`; Fig. 1: the kernel of `panels`."""
    traces_by_route = np.empty((len(config.sizes), len(config.seeds), len(ROUTES), 2))
    for i, sizes in enumerate(config.sizes):
        C = len(sizes)
        for j, seed in enumerate(config.seeds):
            rng = np.random.default_rng((seed, i))
            y = rng.permutation(np.repeat(np.arange(C), sizes))
            H = rng.normal(size=(C, config.dim))[y] + rng.normal(size=(len(y), config.dim))
            K = H @ H.T
            traces_by_route[i, j, 0] = covariance_traces(H, y, C)
            for k, formula in enumerate(FORMULAS, start=1):
                traces = metrics.kernel_nc1(
                    jnp.asarray(K), jnp.asarray(y), num_classes=C, weighting=formula
                )
                traces_by_route[i, j, k] = traces.within, traces.between
            traces_by_route[i, j, 3] = without_diagonal(K, y, C)
    pictures, signs = _heat_maps(config)
    return xr.Dataset(
        {
            "trace": (("sizes", "repeat", "route", "part"), traces_by_route),
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


def _heat_maps(config: RandomFeatures):
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


@dataclass(frozen=True)
class Imbalance:
    """Two Gaussian classes of unequal size.

    Attributes:
        seeds: one for each repeat.
        total: N of each set.
        dims: d₀.
        eighths: of N in the smaller class, one for each set.
        means, std: of the classes, as `data.gaussian_mixture` takes them.
    """

    seeds: tuple[int, ...]
    total: int
    dims: tuple[int, ...] = (1, 2, 8, 32, 128)
    eighths: tuple[int, ...] = (4, 3, 2, 1)
    means: tuple[float, ...] = (-2.0, 2.0)
    std: float = 0.5

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Both class sizes of each set."""
        return tuple((self.total * k // 8, self.total - self.total * k // 8) for k in self.eighths)


@case(
    smoke=Imbalance(seeds=(0, 1), total=128, dims=(2, 8)),
    quick=Imbalance(seeds=(0, 1, 2), total=2048),
    paper=Imbalance(seeds=tuple(range(10)), total=2048),
)
def imbalance(config: Imbalance) -> xr.Dataset:
    """log10 NC1 of each kernel by both formulas, over class sizes and dimensions."""
    log10_nc1 = sweep(
        config.sizes, dims=config.dims, means=config.means, std=config.std, seeds=config.seeds
    )
    return xr.Dataset(
        {"log10_nc1": (("sizes", "d0", "repeat", "kernel", "formula"), log10_nc1)},
        coords={
            "sizes": ["/".join(map(str, sizes)) for sizes in config.sizes],
            "share": ("sizes", [min(sizes) / sum(sizes) for sizes in config.sizes]),
            "d0": list(config.dims),
            "repeat": list(config.seeds),
            "kernel": list(KERNELS),
            "formula": list(FORMULAS),
        },
    )


@dataclass(frozen=True)
class Digits:
    """Kernels of deep networks on digits.

    Attributes:
        seeds: one for each repeat.
        per_class: digits of each class.
        depths: hidden layers.
        classes: numbers of classes.
    """

    seeds: tuple[int, ...]
    per_class: int
    depths: tuple[int, ...]
    classes: tuple[int, ...] = tuple(range(2, 11))


@case(
    smoke=Digits(seeds=(0, 1), per_class=8, depths=(1, 2), classes=(2, 10)),
    quick=Digits(seeds=tuple(range(4)), per_class=50, depths=(1, 2, 3, 4, 5, 8, 16)),
    paper=Digits(seeds=tuple(range(10)), per_class=200, depths=(1, 2, 3, 4, 5, 8, 16, 32)),
)
def digits(config: Digits) -> xr.Dataset:
    """log10 NC1 of NNGP kernel and NTK by depth and number of classes, and of the pixels."""
    whole = data.load("mnist5k")
    names = ["nngp_erf", "ntk_erf", "nngp_relu", "ntk_relu"]
    shape = (len(config.seeds), len(INPUTS), len(config.classes))
    pixels, norms = np.empty(shape), np.empty(shape)
    nc1 = np.empty((*shape, len(config.depths), len(names)))
    for i, seed in enumerate(tqdm(config.seeds, desc="digits")):
        raw, y = ordered_digits(whole, config.per_class, seed)
        for j, X in enumerate(both_inputs(raw).values()):
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
                    nc1[i, j, k, m] = [
                        metrics.kernel_nc1(K[:n, :n], y[:n], num_classes=C).ratio for K in both
                    ]
    by = ("repeat", "inputs", "classes")
    return xr.Dataset(
        {
            "log10_nc1": ((*by, "depth", "kernel"), np.log10(nc1)),
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
