r"""P2, section 6: networks on images, which of them collapse, and what their invariant says.

A cell trains one network on one data set from each initialisation with each learning rate
and seed, all of them at once, and measures collapse, tangent kernels and the invariant
along the way. The networks are narrow, at every scale; `network_pairs` has the paper's.
"""

import functools
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import data, models, training
from ncutils.experiments import case
from ncutils.experiments.seleznova2023 import _kernel_estimates
from ncutils.experiments.seleznova2023 import _network_metrics as watch
from ncutils.experiments.seleznova2023._network_reading import (
    at_fit,
    beyond_setting,
    by_chance,
    fitted,
    over_seeds,
    rank_correlation,
    top,
)
from ncutils.experiments.seleznova2023._network_settings import CELLS, LOSSES, NETWORKS, Config
from ncutils.records import workspace

__all__ = [
    "CELLS",
    "Config",
    "at_fit",
    "beyond_setting",
    "by_chance",
    "fitted",
    "load",
    "operations",
    "over_seeds",
    "rank_correlation",
    "run",
    "top",
    "untrained",
]


def _resized(x: np.ndarray, side: int) -> np.ndarray:
    """Square images of `side` pixels: means over squares to shrink, bilinear to grow."""
    old = x.shape[1]
    if old % side == 0:
        cut = old // side
        return x.reshape(len(x), side, cut, side, cut, x.shape[3]).mean(axis=(2, 4))
    if old > side:
        raise ValueError(f"images of {old} × {old} pixels cannot be averaged to {side} × {side}")
    return np.asarray(jax.image.resize(x, (len(x), side, side, x.shape[3]), "bilinear"))


def load(config: Config) -> tuple[data.Dataset, data.Dataset]:
    """The training set, balanced and sorted by class, and the test set.

    Raises:
        ValueError, DownloadError: as `data.load` and `data.balanced_subset`.
    """
    key = jax.random.key(config.seed)
    whole = data.load(config.dataset, dtype=np.float32)
    if whole.name in ("digits", "mnist5k"):
        both = config.train_per_class + config.test_per_class
        drawn = data.balanced_subset(whole, both, key=key)
        first = np.arange(len(drawn.y)) % both < config.train_per_class
        train, test = (replace(drawn, x=drawn.x[rows], y=drawn.y[rows]) for rows in (first, ~first))
    else:
        train = data.balanced_subset(whole, config.train_per_class, key=key)
        test = data.load(config.dataset, split="test", dtype=np.float32)
        if config.test_per_class is not None:
            test = data.balanced_subset(test, config.test_per_class, key=key)
    return tuple(replace(part, x=_resized(part.x, config.side)) for part in (train, test))


def untrained(config: Config, channels: int):
    """A stack of networks: initialisations, then learning rates, then seeds.

    A seed gives the same network with every learning rate.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(config.seeds * len(config.learning_rates)))
    return jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        *(_stack(_constructor(config, channels), name, keys) for name in config.initialisations),
    )


def _constructor(config: Config, channels: int) -> Callable:
    options = {"channels": channels, "momentum": config.norm_momentum}
    return functools.partial(NETWORKS[config.network], *config.shape, **options)


@eqx.filter_jit
def _stack(make, initialisation, keys):
    return eqx.filter_vmap(lambda key: make(initialisation=initialisation, key=key))(keys)


def operations(config: Config, channels: int) -> float:
    """Floating-point operations of one training step of one run, but for what is negligible.

    Those of the outputs of one image, as the compiler counts them, times the images of a
    batch, times three: the gradients in features and in weights cost once more each.
    """
    make = _constructor(config, channels)
    model = eqx.filter_eval_shape(lambda key: make(key=key), jax.random.key(0))
    arrays, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    x = jax.ShapeDtypeStruct((config.side, config.side, channels), jnp.float32)
    lowered = jax.jit(lambda arrays, x: eqx.combine(arrays, static)(x)).lower(arrays, x)
    return 3.0 * 10 * config.batch_per_class * lowered.cost_analysis()["flops"]


def run(config: Config) -> xr.Dataset:
    """Train and measure every network of a cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Dimensions `run` (coordinates `init`, `learning_rate`, `seed`, `diverged`) and
        `epoch`: what `_network_metrics.make_measure` records; of the last epoch also the
        traced kernels (sample × sample2) and the norms of their components (k × s,
        neuron × neuron2; NaN where not taken). Scalars: processor seconds and
        floating-point operations of a training step and processor seconds of a measurement,
        for one run. Where the
        configuration asks for it, the estimates of `_kernel_estimates.estimates`.

    Raises:
        ValueError: for settings or data that do not fit, or a checkpoint of another run.
        DownloadError: for a data set that is nowhere at hand.
    """
    train, test = load(config)
    X, X_test = jnp.asarray(train.x), jnp.asarray(test.x)
    y, targets = train.y, jnp.eye(10, dtype=X.dtype)[train.y]
    networks = untrained(config, X.shape[-1])
    grid = [
        (init, rate, seed)
        for init in config.initialisations
        for rate in config.learning_rates
        for seed in config.seeds
    ]
    loss = LOSSES[config.loss]
    measure = watch.make_measure(
        y,
        X_test,
        test.y,
        loss=loss,
        per_class=config.per_class,
        kernel_per_class=config.kernel_per_class,
        chunk=config.chunk,
    )
    recipe = training.Recipe(
        1.0,
        config.epochs,
        momentum=config.momentum,
        nesterov=True,
        weight_decay=config.weight_decay,
        decayed="kernels",
        per_class=config.batch_per_class,
        drop_every=config.drop_every,
    )
    fit = functools.partial(
        training.fit_ensemble,
        networks,
        X,
        targets,
        learning_rates=jnp.array([rate for _, rate, _ in grid]),
        shared_data=True,
        at_once=config.at_once,
        loss=loss,
        measure=measure,
        labels=y,
        key=jax.random.key(config.seed),
    )
    fitted = fit(
        recipe,
        record_at=config.record_at,
        checkpoint=_checkpoint(config),
        checkpoint_every=config.checkpoint_every or config.epochs,
        progress=config.cell,
    )
    extra = {
        **_components(config, grid, fitted, X, y),
        **_seconds(config, fit, recipe, len(grid)),
        "step_operations": operations(config, X.shape[-1]),
    }
    found = _dataset(config, grid, fitted, extra)
    if config.estimate_per_class:
        estimates = _kernel_estimates.estimates(
            found,
            fitted.model,
            X,
            y,
            per_class=config.estimate_per_class,
            size=config.per_class,
            few=min(3, config.kernel_per_class),
            draws=config.estimate_draws,
            seed=config.seed,
            chunk=min(8, config.chunk),
        )
        found = found.assign_coords(estimates.coords).assign(estimates.data_vars)
    return found


def _checkpoint(config: Config):
    if config.checkpoint_every is None:
        return None
    name = hashlib.sha256(repr(asdict(config)).encode()).hexdigest()[:12]
    folder = workspace.build_dir("paper") / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{config.cell}-{name}.eqx"


def _components(config: Config, grid, fitted, X, y) -> dict:
    """Norms of all kernel components at the end, of the first seeds; NaN for the others."""
    chosen = np.flatnonzero(
        np.isin([seed for _, _, seed in grid], config.seeds[: config.component_seeds])
    )
    widths = {"outputs": 10, "features": fitted.model.classifier.weight.shape[-1]}
    whole = {name: np.full((len(grid), width, width), np.nan) for name, width in widths.items()}
    if chosen.size:
        weights, held, static = models.partition(fitted.model)
        some = jax.tree.map(lambda leaf: leaf[chosen], (weights, held))
        rows = watch.first_of_each(y, config.component_per_class)
        sizes = watch.component_sizes(eqx.combine(*some, static), X[rows], chunk=config.chunk)
        for name in widths:
            whole[name][chosen] = sizes[name]
    return {
        "norms_outputs": (("run", "k", "s"), whole["outputs"]),
        "norms_features": (("run", "neuron", "neuron2"), whole["features"]),
    }


def _seconds(config: Config, fit, recipe, runs: int) -> dict:
    """Processor seconds of a step and of a measurement of one run; all is compiled by now."""
    steps = config.train_per_class // config.batch_per_class
    few = max(1, min(2, config.epochs))
    clock = [time.process_time()]
    for epochs, record_at in ((few, ()), (0, (0,))):
        jax.block_until_ready(
            models.partition(fit(replace(recipe, epochs=epochs), record_at=record_at).model)[0]
        )
        clock.append(time.process_time())
    training_, measuring = np.diff(clock)
    return {"step_seconds": training_ / (few * steps * runs), "look_seconds": measuring / runs}


def _dataset(config: Config, grid, fitted: training.Fitted, extra: dict) -> xr.Dataset:
    records = {name: np.moveaxis(values, 0, 1) for name, values in fitted.records.items()}
    last = ("run", "sample", "sample2")
    kernels = {
        name: (last, records.pop(name)[:, -1]) for name in ("traced_outputs", "traced_features")
    }
    inits, rates, seeds = zip(*grid, strict=True)
    return xr.Dataset(
        {name: (("run", "epoch"), values) for name, values in records.items()} | kernels | extra,
        coords={
            "epoch": list(fitted.epochs),
            "init": ("run", list(inits)),
            "learning_rate": ("run", np.array(rates)),
            "seed": ("run", np.array(seeds)),
            "diverged": ("run", np.asarray(fitted.diverged)),
            "classes": 10,
            "steps_per_epoch": config.train_per_class // config.batch_per_class,
        },
        attrs={"dtype": "float32"},
    )


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("mnist", "smoke"),
    quick=Config.at("mnist", "quick"),
    paper=Config.at("mnist", "paper"),
)
def mnist(config: Config) -> xr.Dataset:
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


@case(
    smoke=Config.at("cross_entropy", "smoke"),
    quick=Config.at("cross_entropy", "quick"),
    paper=Config.at("cross_entropy", "paper"),
)
def cross_entropy(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
