"""P3, Deep RFM with one thing changed, and where the cosine map stops the collapse.

Cell: ``variants``: other matrices in the place of the AGOP, shuffled labels, the text of the
paper where it differs from its code, and classes that have collapsed before the first layer.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import deep_rfm, linalg, metrics
from ncutils.deep_rfm import Recipe
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024.deep_rfm import (
    MAPS,
    POINTS,
    Split,
    load,
    measured,
    net,
    recipe_of,
    stacked,
)
from ncutils.records import workspace

CELLS = ("variants",)
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
class Config:
    """What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        dataset, per_class, limit, depth, width, dtype, memory_limit: as for the figures.
        variants: which of `VARIANTS`.
        shrink: factors on the deviations from the class means, for the response of the maps.
        tight: the same factor for the start of "collapsed".
    """

    cell: str
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

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if level == 0:
            few = ("agop", "identity")
            return cls(cell, (0, 1), "digits", per_class=8, depth=3, width=64, variants=few)
        if level == 1:
            return cls(cell, (0, 1, 2))
        return cls(
            cell, (0, 1, 2), dataset="mnist", per_class=None, depth=12, width=1024,
            dtype="float32", memory_limit=16.0,
        )  # fmt: skip


def changed(name: str, feature_map: str, split: Split, config: Config, seed: int):
    """The recipe, the data and the labels of a variant."""
    changes: dict = {
        "identity": {"matrix": "identity"},
        "random": {"matrix": "random"},
        "no ridge": {"ridge": 0.0},
        "sum": {"scale": "sum"},
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


def response(Z, split: Split, recipe: Recipe, shrink, key) -> np.ndarray:
    """NC1 before and after a map, while the deviations from the class means shrink."""
    found = []
    for factor in shrink:
        H = shrunk(Z, split, factor)
        image = deep_rfm.random_features(H, recipe=recipe, key=key)
        found.append([metrics.nc1(h, split.y, num_classes=split.num_classes) for h in (H, image)])
    return np.array(found, float)


def _one_net(name: str, feature_map: str, whole: Split, config: Config, seed: int):
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


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat; NaN where a variant was not asked for.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    arrays: dict[str, np.ndarray] = {}
    shape = (len(VARIANTS), len(MAPS), len(config.seeds))
    tried = {"relu": Recipe("relu", width=config.width), "cosine": Recipe("cosine")}
    tried["cosine, Gaussian"] = Recipe("cosine", weights="gaussian", frequency=1.0)
    responses = np.full((len(tried), len(config.seeds), len(config.shrink), 2), np.nan)
    for k, seed in enumerate(tqdm(config.seeds, desc="repeats")):
        whole = load(config.dataset, config, seed)
        for i, name in enumerate(VARIANTS):
            if name not in config.variants:
                continue
            for feature_map in VARIANTS[name]:
                found, last = _one_net(name, feature_map, whole, config, seed)
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


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("variants", "smoke"),
    quick=Config.at("variants", "quick"),
    paper=Config.at("variants", "paper"),
)
def variants(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
