"""P3, Section 4 and Appendix E: Deep RFM on images.

Cell: ``figures`` (Figs 1 and 3-6, test accuracy by layer, the released form of NC1, and what
the Gaussian kernel does without ridge in single precision). It exists at size "workstation"
too, with a fifth of the paper's images: half an hour of two cores, for the archive.
"""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import agop, data, deep_rfm, kernels, linalg, metrics
from ncutils.deep_rfm import Recipe
from ncutils.experiments import case
from ncutils.records import workspace

CELLS = ("figures",)
POINTS = ("before", "after_agop", "after_map")
MAPS = ("relu", "cosine")
NETS = (*MAPS, "relu, Gaussian kernel")
MEASURES = ("train accuracy", "nc2", "pivot")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat: data drawn and maps drawn.
        datasets: names that `data.load` knows; sets that are nowhere at hand are left out.
        per_class: training digits of each class; None for all, in the order of the file.
        limit: at most so many training images, in the order of the file.
        depth, width: layers, and features of the ReLU map.
        panels: layers whose Gram matrices are kept. shown: rows of each class in them.
        dtype: of everything. memory_limit: in GiB.
        single: at most so many images for the runs in single precision.
        nets: which of `NETS`.
    """

    cell: str
    seeds: tuple[int, ...]
    datasets: tuple[str, ...] = ("mnist5k",)
    per_class: int | None = 50
    limit: int = 50_000
    depth: int = 10
    width: int = 1024
    panels: tuple[int, ...] = (1, 2, 4, 7, 10)
    shown: int = 20
    dtype: str = "float64"
    memory_limit: float = 4.0
    single: int = 2000
    nets: tuple[str, ...] = NETS

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale; "paper" has the paper's own sizes.

        Size "workstation" has the paper's layers and maps, the first 10,000 images of two sets
        in double precision, and one draw of the maps.
        """
        if scale == "workstation":
            return replace(
                cls.at(cell, "paper"),
                seeds=(0,),
                datasets=("mnist", "fashion_mnist"),
                limit=10_000,
                shown=4,
                dtype="float64",
                memory_limit=8.0,
                single=0,
                nets=MAPS,
            )
        level = workspace.SCALES.index(workspace.check_scale(scale))
        seeds = tuple(range((2, 3, 3)[level]))
        if level == 2:
            return cls(
                cell,
                seeds,
                datasets=("mnist", "fashion_mnist", "cifar10", "svhn"),
                per_class=None,
                depth=20,
                panels=(1, 3, 7, 13, 19),
                dtype="float32",
                memory_limit=70.0,
            )
        if level == 0:
            return cls(
                cell,
                seeds,
                datasets=("digits",),
                per_class=8,
                depth=3,
                width=64,  # as many as there are pixels: one set of shapes to compile
                single=0,
                nets=MAPS,
                panels=(1, 2, 3),
                shown=4,
            )
        return cls(cell, seeds, width=512)


@dataclass(frozen=True)
class Split:
    """Standardised images, rows sorted by class, and other ones to predict."""

    X: jax.Array
    y: jax.Array
    test: jax.Array
    test_y: jax.Array
    num_classes: int


def load(name: str, config: Config, seed: int) -> Split:
    """Training and test images of one set.

    Without `per_class`, the first `limit` of the training split and the whole test split.
    With it, that many of each class, and as many others for the test.
    """
    whole, C = data.load(name, dtype=np.dtype(config.dtype)), 10
    if config.per_class is None:
        other = data.load(name, split="test", dtype=np.dtype(config.dtype))
        X, y = whole.flat[: config.limit], whole.y[: config.limit]
        order = np.argsort(y, kind="stable")
        X, y, test, test_y = X[order], y[order], other.flat, other.y
    else:
        per = config.per_class
        both = data.balanced_subset(whole, 2 * per, key=jax.random.key(seed))
        parts = both.flat.reshape(C, 2, per, -1)
        X, test = (parts[:, k].reshape(C * per, -1) for k in (0, 1))
        y = test_y = np.repeat(np.arange(C), per)
    X, test = deep_rfm.standardise(jnp.asarray(X), jnp.asarray(test))
    return Split(X, jnp.asarray(y), test, jnp.asarray(test_y), C)


def released_nc1(H: np.ndarray, y: np.ndarray, num_classes: int) -> float:
    """NC1 as the released code of P3 has it: Σ_W is divided by C times all N samples."""
    means = np.stack([H[y == c].mean(axis=0) for c in range(num_classes)])
    within = ((H - means[y]) ** 2).sum() / (num_classes * len(H))
    return float(within / ((means - means.mean(axis=0)) ** 2).sum() * num_classes)


def _collapse(H, y, C) -> tuple[float, float]:
    nc2 = metrics.nc2(H, y, num_classes=C, kind="mean_square")
    return float(metrics.nc1(H, y, num_classes=C)), float(nc2)


def _right(outputs, y) -> float:
    return float(jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(float)))


def measured(split: Split, layer: deep_rfm.Layer, labels) -> dict[str, np.ndarray]:
    """NC1 and NC2 at the three measuring points, and the accuracies, of one layer."""
    found = np.full((3, 2), np.nan)
    for k, name in enumerate(POINTS):
        H = getattr(layer, name)
        if H is not None:
            found[k] = _collapse(H, split.y, split.num_classes)
    return {
        "nc1": found[:, 0],
        "nc2": found[:, 1],
        "train_accuracy": np.array(_right(layer.predictions, labels)),
        "test_accuracy": np.array(_right(layer.test_predictions, split.test_y)),
        "pivot": np.array(layer.pivot),
    }


def net(split: Split, config, recipe: Recipe, seed: int, *, labels=None):
    """The layers of one net, with maps drawn by the seed."""
    return deep_rfm.layers(
        split.X,
        split.y if labels is None else labels,
        num_classes=split.num_classes,
        depth=config.depth,
        recipe=recipe,
        test=split.test,
        memory_limit=config.memory_limit,
        when_singular="stop",
        key=jax.random.fold_in(jax.random.key(seed), 1),
    )


def recipe_of(feature_map: str, config, **changes) -> Recipe:
    """The released recipe with the width of the configuration."""
    width = config.width if feature_map == "relu" else None
    return Recipe(feature_map, **{"width": width} | changes)


def stacked(rows: list[dict], depth: int) -> dict[str, np.ndarray]:
    """Arrays with layers first; NaN after a net that stopped early."""
    empty = {name: np.full_like(value, np.nan) for name, value in rows[0].items()}
    rows = rows + [empty] * (depth + 1 - len(rows))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


# --- Figs 1 and 3-6 -------------------------------------------------------------------------


def _gram(H, y, shown: int) -> np.ndarray:
    """Cosines of the centred rows, some of each class: the panels of the paper."""
    H = np.asarray(H - H.mean(axis=0, keepdims=True), np.float64)
    rows = np.concatenate([np.flatnonzero(np.asarray(y) == c)[:shown] for c in np.unique(y)])
    H = H[rows] / np.linalg.norm(H[rows], axis=1, keepdims=True)
    return (H @ H.T).astype(np.float32)


def _one_net(split, config, recipe, seed):
    """What was measured by layer, and the Gram matrices of the panels."""
    rows, grams, entering = [], [], split.X
    made = net(split, config, recipe, seed)
    made = tqdm(made, total=config.depth + 1, desc=f"layers, seed {seed}", leave=False)
    for number, layer in enumerate(made, start=1):
        X, y = np.asarray(layer.before), np.asarray(split.y)
        released = np.array(released_nc1(X, y, split.num_classes))
        rows.append(measured(split, layer, split.y) | {"released_nc1": released})
        if number in config.panels:
            grams.append(_gram(entering, split.y, config.shown))
        entering = layer.after_agop  # the paper's panels: what M^{1/2} made of a layer
    return stacked(rows, config.depth), grams


def _one_set(splits, config: Config, name: str) -> xr.Dataset:
    found: dict[str, list] = {}
    grams = []
    for label in tqdm(NETS, desc=name):
        if label not in config.nets:
            continue
        kernel = "laplace" if label in MAPS else "gaussian"
        recipe = recipe_of(label.split(",")[0], config, kernel=kernel)
        runs = [
            _one_net(split, config, recipe, seed)
            for seed, split in zip(config.seeds, splits, strict=True)
        ]
        found[label] = [rows for rows, _ in runs]
        if label in MAPS:
            grams.append(np.stack(runs[0][1]))
    arrays = {}
    for quantity, one in found[MAPS[0]][0].items():
        values = np.full((len(NETS), len(config.seeds), *one.shape), np.nan)
        for label, runs in found.items():
            values[NETS.index(label)] = [rows[quantity] for rows in runs]
        arrays[quantity] = (("net", "repeat", "layer", "point")[: values.ndim], values)
    single = [
        [_single_precision(split, config, seed, ridge) for ridge in (0.0, 1e-3)]
        for seed, split in zip(config.seeds, splits, strict=True)
    ]
    return xr.Dataset(
        {
            **arrays,
            "gram": (("feature_map", "panel", "i", "j"), np.stack(grams)),
            "single": (("repeat", "ridge", "layer", "measure"), np.array(single)),
        },
        coords={
            "net": list(NETS),
            "feature_map": list(MAPS),
            "repeat": list(config.seeds),
            "layer": np.arange(1, config.depth + 2),
            "point": list(POINTS),
            "panel": list(config.panels),
            "ridge": ["none", "1e-3"],
            "measure": list(MEASURES),
        },
    )


def _figures(config: Config) -> xr.Dataset:
    sets = {}
    for name in config.datasets:
        try:
            splits = [load(name, config, seed) for seed in config.seeds]
        except data.DownloadError as missing:
            print(f"{name} is left out: {missing}")
            continue
        sets[name] = _one_set(splits, config, name)
    if not sets:
        raise ValueError(f"none of {', '.join(config.datasets)} is at hand")
    return xr.concat(sets.values(), dim=xr.DataArray(list(sets), dims="dataset", name="dataset"))


def _single_precision(split: Split, config: Config, seed: int, ridge: float) -> np.ndarray:
    """ReLU features and the Gaussian kernel in float32, solved by elimination and carried on.

    Elimination, unlike Cholesky's factorisation, answers for a singular matrix too.
    """
    found = np.full((config.depth + 1, len(MEASURES)), np.nan)
    if not config.single:
        return found
    every = -(-len(split.X) // config.single)
    X, y, C = split.X[::every].astype(jnp.float32), split.y[::every], split.num_classes
    recipe = recipe_of("relu", config, kernel="gaussian", ridge=ridge)
    how = {"kernel": recipe.kernel, "bandwidth": recipe.bandwidth}
    targets = 2 * linalg.one_hot(y, num_classes=C, dtype=X.dtype) - 1
    for number in range(config.depth + 1):
        X = X / jnp.maximum(jnp.linalg.norm(X, axis=1, keepdims=True), 1e-30)
        alpha, outputs, pivot = _eliminate(X, targets, ridge, recipe.bandwidth)
        nc2 = metrics.nc2(X, y, num_classes=C, kind="mean_square")
        found[number] = _right(outputs, y), nc2, pivot
        M = agop.kernel_agop(alpha, X, **how)
        X = X @ linalg.psd_sqrt(M / jnp.max(M))
        draw = jax.random.fold_in(jax.random.key(seed), number)
        X = deep_rfm.random_features(X, recipe=recipe, key=draw)
    return found


@functools.partial(jax.jit, static_argnames="bandwidth")
def _eliminate(X, targets, ridge, bandwidth):
    K = kernels.gaussian(X, bandwidth=bandwidth)
    regular = K + ridge * jnp.eye(len(X), dtype=X.dtype)
    alpha = jnp.linalg.solve(regular, targets)
    return alpha, K @ alpha, jnp.min(jnp.diagonal(jnp.linalg.cholesky(regular))) ** 2


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat; NaN in layers that a net which stopped did not reach.

    Raises:
        ValueError: for a cell that is not in `CELLS`, or if none of the data are at hand.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _figures(config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("figures", "smoke"),
    quick=Config.at("figures", "quick"),
    paper=Config.at("figures", "paper"),
    workstation=Config.at("figures", "workstation"),
)
def figures(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
