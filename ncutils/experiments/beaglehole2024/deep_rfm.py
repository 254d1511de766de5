"""P3, Section 4 and Appendix E: Deep RFM on images, as it is and with one thing changed.

Case ``figures``: Figs 1 and 3-6, test accuracy by layer, the released form of NC1, and what
the Gaussian kernel does without ridge in single precision. It exists at size "workstation"
too, with a fifth of the paper's images: half an hour of two cores, for the archive.

Case ``variants``: other matrices in the place of the AGOP, shuffled labels, the text of the
paper where it differs from its code, and classes that have collapsed before the first layer.
"""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import agop, data, deep_rfm, kernels, linalg, metrics
from ncutils.deep_rfm import Layout
from ncutils.experiments import case

POINTS = ("before", "after_agop", "after_map")
MAPS = ("relu", "cosine")
NETS = (*MAPS, "relu, Gaussian kernel")
MEASURES = ("train accuracy", "nc2", "pivot")
# What is changed, and for which maps the answer is not known beforehand.
VARIANTS = {
    "agop": MAPS,
    "identity": MAPS,
    "random": MAPS,
    "shuffled": MAPS,
    "no ridge": MAPS,
    "sum": ("cosine",),
    "narrow": ("cosine",),
    "smooth": ("cosine",),
    "collapsed": ("cosine",),
}
PREDICTED = ("agop", "narrow", "collapsed")


@dataclass(frozen=True)
class Split:
    """Standardised images, rows sorted by class, and other ones to predict."""

    X: jax.Array
    y: jax.Array
    test: jax.Array
    test_y: jax.Array
    num_classes: int


def load(name: str, config, seed: int) -> Split:
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
        train, other = data.split(whole, per, per, key=jax.random.key(seed))
        X, y, test, test_y = train.flat, train.y, other.flat, other.y
    X, test = data.standardise(jnp.asarray(X), jnp.asarray(test))
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
    collapse = np.full((3, 2), np.nan)
    for k, name in enumerate(POINTS):
        H = getattr(layer, name)
        if H is not None:
            collapse[k] = _collapse(H, split.y, split.num_classes)
    return {
        "nc1": collapse[:, 0],
        "nc2": collapse[:, 1],
        "train_accuracy": np.array(_right(layer.predictions, labels)),
        "test_accuracy": np.array(_right(layer.test_predictions, split.test_y)),
        "pivot": np.array(layer.pivot),
    }


def net(split: Split, config, recipe: Layout, seed: int, *, labels=None):
    """The layers of one net, with maps drawn by the seed."""
    return deep_rfm.run_layers(
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


def recipe_of(feature_map: str, config, **changes) -> Layout:
    """The released recipe with the width of the configuration."""
    width = config.width if feature_map == "relu" else None
    return Layout(feature_map, **{"width": width} | changes)


def stacked(rows: list[dict], depth: int) -> dict[str, np.ndarray]:
    """Arrays with layers first; NaN after a net that stopped early."""
    empty = {name: np.full_like(value, np.nan) for name, value in rows[0].items()}
    rows = rows + [empty] * (depth + 1 - len(rows))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


# --- Figs 1 and 3-6 -------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What decides the numbers of `figures`.

    Attributes:
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


def _one_set(splits, config: Figures, name: str) -> xr.Dataset:
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


def _single_precision(split: Split, config: Figures, seed: int, ridge: float) -> np.ndarray:
    """ReLU features and the Gaussian kernel in float32, solved by elimination and carried on.

    Elimination, unlike Cholesky's factorisation, answers for a singular matrix too: a loop of
    its own beside `deep_rfm.run_layers`, which refuses such a matrix or stops at it.
    """
    found = np.full((config.depth + 1, len(MEASURES)), np.nan)
    if not config.single:
        return found
    every = -(-len(split.X) // config.single)
    X, y, C = split.X[::every].astype(jnp.float32), split.y[::every], split.num_classes
    recipe = recipe_of("relu", config, kernel="gaussian", ridge=ridge)
    targets = linalg.signed_one_hot(y, num_classes=C, dtype=X.dtype)
    for number in range(config.depth + 1):
        X = data.unit_rows(X)
        alpha, outputs, pivot = _eliminate(X, targets, ridge, recipe.bandwidth)
        nc2 = metrics.nc2(X, y, num_classes=C, kind="mean_square")
        found[number] = _right(outputs, y), nc2, pivot
        M = agop.kernel_agop(alpha, X, kernel=recipe.kernel, bandwidth=recipe.bandwidth)
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


@case(
    smoke=Figures(
        seeds=(0, 1), datasets=("digits",), per_class=8, depth=3, panels=(1, 2, 3), shown=4,
        width=64,  # as many as there are pixels: one set of shapes to compile
        single=0, nets=MAPS,
    ),
    quick=Figures(seeds=(0, 1, 2), width=512),
    paper=Figures(
        seeds=(0, 1, 2), datasets=("mnist", "fashion_mnist", "cifar10", "svhn"), per_class=None,
        depth=20, panels=(1, 3, 7, 13, 19), dtype="float32", memory_limit=70.0,
    ),
    # the paper's layers and maps, the first 10,000 images of two sets, one draw of the maps
    workstation=Figures(
        seeds=(0,), datasets=("mnist", "fashion_mnist"), per_class=None, limit=10_000,
        depth=20, panels=(1, 3, 7, 13, 19), shown=4, memory_limit=8.0, single=0, nets=MAPS,
    ),
)  # fmt: skip
def figures(config: Figures) -> xr.Dataset:
    """Deep RFM with ReLU and cosine features, layer by layer.

    Returns:
        Arrays with one row a repeat; NaN in layers that a net which stopped did not reach.

    Raises:
        ValueError: if none of the data are at hand.
    """
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


# --- one thing changed ----------------------------------------------------------------------


@dataclass(frozen=True)
class Variants:
    """What decides the numbers of `variants`.

    Attributes:
        seeds: one for each repeat.
        dataset: a name that `data.load` knows.
        per_class, limit, depth, width, dtype, memory_limit: as for `Figures`.
        variants: which of `VARIANTS`.
        shrink: factors on the deviations from the class means, for the response of the maps.
        tight: the same factor for the start of "collapsed".
    """

    seeds: tuple[int, ...]
    dataset: str = "mnist5k"
    per_class: int | None = 50
    limit: int = 10_000
    depth: int = 6
    width: int = 512
    dtype: str = "float64"
    memory_limit: float = 4.0
    variants: tuple[str, ...] = tuple(VARIANTS)
    shrink: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125, 0.0625)
    tight: float = 0.05


def changed(name: str, feature_map: str, split: Split, config: Variants, seed: int):
    """The recipe, the data and the labels of a variant."""
    changes: dict = {
        "identity": {"matrix": "identity"},
        "random": {"matrix": "random"},
        "no ridge": {"ridge": 0.0},
        "sum": {"normalisation": "sum"},
        "narrow": {"width": split.X.shape[1] // 2},
        "smooth": {"weights": "gaussian", "frequency": 1.0},
    }.get(name, {})
    labels = split.y
    if name == "shuffled":
        labels = jax.random.permutation(jax.random.key(seed + 100), split.y)
    if name == "collapsed":
        split = replace(split, X=shrunk(split.X, split, config.tight))
    return recipe_of(feature_map, config, **changes), split, labels


def shrunk(Z, split: Split, factor: float) -> jax.Array:
    """Rows moved towards the mean of their class, which stays where it is."""
    means = linalg.class_means(Z, split.y, num_classes=split.num_classes)[split.y]
    return means + factor * (Z - means)


@jax.jit
def l1_kernel(Z, frequency) -> jax.Array:
    r"""$e^{-\gamma \lVert z - z' \rVert_1}$, what the Cauchy cosines stand for."""
    distance = jax.lax.map(lambda z: jnp.sum(jnp.abs(Z - z[None, :]), axis=1), Z, batch_size=16)
    return jnp.exp(-frequency * distance)


def response(Z, split: Split, recipe: Layout, shrink, key) -> np.ndarray:
    """NC1 before and after a map, while the deviations from the class means shrink."""
    found = []
    for factor in shrink:
        H = shrunk(Z, split, factor)
        image = deep_rfm.random_features(H, recipe=recipe, key=key)
        found.append([metrics.nc1(h, split.y, num_classes=split.num_classes) for h in (H, image)])
    return np.array(found, float)


def _one_variant(name: str, feature_map: str, whole: Split, config: Variants, seed: int):
    """What was measured by layer, and the last features after the AGOP."""
    recipe, split, labels = changed(name, feature_map, whole, config, seed)
    rows, last = [], None
    for layer in net(split, config, recipe, seed, labels=labels):
        own = metrics.nc1(layer.before, labels, num_classes=split.num_classes)
        row = measured(split, layer, labels) | {
            "own_nc1": np.array(own),
            "predicted_nc1": np.array(np.nan),
        }
        if layer.after_agop is not None:
            last = layer.after_agop
            if feature_map == "cosine" and name in PREDICTED:
                K = l1_kernel(last, recipe.frequency)
                found = metrics.kernel_nc1(K, split.y, num_classes=split.num_classes)
                row["predicted_nc1"] = np.array(found.ratio)
        rows.append(row)
    return stacked(rows, config.depth), last


@case(
    smoke=Variants(
        seeds=(0, 1), dataset="digits", per_class=8, depth=3, width=64,
        variants=("agop", "identity"),
    ),
    quick=Variants(seeds=(0, 1, 2)),
    paper=Variants(
        seeds=(0, 1, 2), dataset="mnist", per_class=None, depth=12, width=1024,
        dtype="float32", memory_limit=16.0,
    ),
)  # fmt: skip
def variants(config: Variants) -> xr.Dataset:
    """Deep RFM with one thing changed, and where the cosine map stops the collapse.

    Returns:
        Arrays with one row a repeat; NaN where a variant was not asked for.
    """
    arrays: dict[str, np.ndarray] = {}
    shape = (len(VARIANTS), len(MAPS), len(config.seeds))
    tried = {"relu": Layout("relu", width=config.width), "cosine": Layout("cosine")}
    tried["cosine, Gaussian"] = Layout("cosine", weights="gaussian", frequency=1.0)
    responses = np.full((len(tried), len(config.seeds), len(config.shrink), 2), np.nan)
    for k, seed in enumerate(tqdm(config.seeds, desc="repeats")):
        whole = load(config.dataset, config, seed)
        for i, name in enumerate(VARIANTS):
            if name not in config.variants:
                continue
            for feature_map in VARIANTS[name]:
                found, last = _one_variant(name, feature_map, whole, config, seed)
                for quantity, value in found.items():
                    empty = np.full((*shape, *value.shape), np.nan)
                    arrays.setdefault(quantity, empty)[i, MAPS.index(feature_map), k] = value
                for j, (label, recipe) in enumerate(tried.items()):
                    if name == "agop" and label.startswith(feature_map):
                        key = jax.random.key(seed)
                        responses[j, k] = response(last, whole, recipe, config.shrink, key)
    dims = ("variant", "feature_map", "repeat", "layer", "point")
    return xr.Dataset(
        {
            **{name: (dims[: array.ndim], array) for name, array in arrays.items()},
            "response": (("tried", "repeat", "shrink", "side"), responses),
        },
        coords={
            "variant": list(VARIANTS),
            "feature_map": list(MAPS),
            "repeat": list(config.seeds),
            "layer": np.arange(1, config.depth + 2),
            "point": list(POINTS),
            "tried": list(tried),
            "shrink": list(config.shrink),
            "side": ["before", "after"],
        },
    )
