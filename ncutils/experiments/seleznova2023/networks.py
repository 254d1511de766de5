r"""P2, section 6: networks on images, which of them collapse, and what their invariant says.

A case trains one network on one data set from each initialisation with each learning rate
and seed, all of them at once, and measures collapse, tangent kernels and the invariant
along the way. The networks are narrow, at every scale; `network_pairs` has the paper's.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import data, models, training
from ncutils.experiments import case
from ncutils.experiments.seleznova2023 import measures
from ncutils.experiments.seleznova2023._grids import geometric, spaced

LOSSES = {"mse": training.half_squared_error, "ce": training.cross_entropy}
NETWORKS = {
    "cnn": models.cnn,
    "resnet": models.resnet,
    "resnet20": models.resnet20,
    "vgg11": models.vgg11,
    "vgg16": models.vgg16,
    "densenet40": models.densenet40,
}


@dataclass(frozen=True)
class Grid:
    r"""One network on one data set, for all initialisations, learning rates and seeds.

    Attributes:
        seeds, initialisations, learning_rates: the grid; η is that at the start.
        network: one of `NETWORKS`. shape: its positional arguments (widths, blocks).
        dataset: for `data.load`. side: pixels of a side after pooling or resizing.
        train_per_class, test_per_class: samples; the packaged sets are split, the others
            have a test split of their own, taken whole if the number is None.
        epochs, record_at, drop_every: as in `training.Recipe`.
        loss: "mse" (P2's, half the mean over entries) or "ce".
        batch_per_class: samples of each class in a batch; P2 has 12.
        per_class: m of the collapse metrics and of the invariant; P2 has 12.
        kernel_per_class: samples per class of the kernels; P2 has 12, or 4 for VGG.
        component_per_class: samples per class for the norms of all components.
        component_seeds: of how many seeds they are taken; dear, and 0 where no page shows them.
        estimate_per_class: for one network that collapses and one that does not, the kernel of
            the features is taken on so many samples of each class, and estimated from fewer;
            0 for none.
        estimate_draws: how often those fewer are drawn.
        norm_momentum: of the running statistics; fewer steps need a smaller one.
        momentum, weight_decay: of the training.
        at_once: runs trained side by side. chunk: outputs differentiated at a time.
        checkpoint_every: epochs between two checkpoints.
        seed: of the data split and the order of batches.
    """

    network: str
    shape: tuple
    dataset: str
    side: int
    train_per_class: int
    test_per_class: int | None
    learning_rates: tuple[float, ...]
    epochs: int
    record_at: tuple[int, ...]
    drop_every: int
    initialisations: tuple[str, ...] = ("lecun_normal", "uniform", "he_normal")
    seeds: tuple[int, ...] = (0, 1, 2)
    loss: str = "mse"
    batch_per_class: int = 12
    per_class: int = 12
    kernel_per_class: int = 4
    component_per_class: int = 2
    component_seeds: int = 1
    estimate_per_class: int = 0
    estimate_draws: int = 300
    norm_momentum: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    at_once: int = 3
    chunk: int = 32
    checkpoint_every: int = 100
    seed: int = 2305

    def __post_init__(self):
        """Refuse what cannot be trained or measured.

        Raises:
            ValueError: for an unknown network or loss, more samples in a batch or a
                metric than there are, a kernel on single samples, or halves of an odd number.
        """
        for name, value, known in (
            ("network", self.network, NETWORKS),
            ("loss", self.loss, LOSSES),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
        if not 1 <= self.batch_per_class <= self.train_per_class:
            raise ValueError(
                f"a batch with {self.batch_per_class} samples of each class cannot be made from "
                f"{self.train_per_class}"
            )
        if not 2 <= self.kernel_per_class <= self.per_class <= self.train_per_class:
            raise ValueError(
                "need 2 ≤ kernel_per_class ≤ per_class ≤ train_per_class, not "
                f"{self.kernel_per_class}, {self.per_class}, {self.train_per_class}"
            )
        if self.estimate_per_class and (
            self.per_class % 2
            or not self.per_class <= self.estimate_per_class <= self.train_per_class
        ):
            raise ValueError(
                "estimates from halves need per_class ≤ estimate_per_class ≤ train_per_class and "
                f"per_class is even, not {self.per_class}, {self.estimate_per_class}, "
                f"{self.train_per_class}"
            )


# --- the narrow networks ----------------------------------------------------------------------

#: What every network has at scale smoke.
TINY = {
    "train_per_class": 12,
    "test_per_class": 10,
    "epochs": 4,
    "record_at": (0, 2, 4),
    "drop_every": 2,
    "initialisations": ("lecun_normal", "he_normal"),
    "seeds": (0, 1),
    "per_class": 4,
    "kernel_per_class": 2,
    "component_per_class": 1,
    "at_once": 2,
}


def schedule(epochs: int, records: int) -> dict:
    """So many epochs with about so many records; the step drops once, half-way."""
    return {"epochs": epochs, "record_at": spaced(epochs, records), "drop_every": epochs // 2}


#: Three convolutions on MNIST at half its side, and a narrow residual network on digits.
convolutions = functools.partial(
    Grid, network="cnn", shape=((8, 16, 32),), dataset="mnist5k", side=14
)
residual = functools.partial(
    Grid, network="resnet", shape=((6, 12, 24), (1, 1, 1)), dataset="digits", side=8
)
FEW = {"train_per_class": 36, "test_per_class": 150, "kernel_per_class": 3}
MANY = {"train_per_class": 300, "test_per_class": 150, "kernel_per_class": 12}


@case(
    smoke=convolutions(shape=((12,),), learning_rates=(1.0, 1e9), estimate_per_class=12, **TINY),
    quick=convolutions(
        learning_rates=geometric(0.25, 4.0, 5), estimate_per_class=36, **FEW, **schedule(180, 9)
    ),
    paper=convolutions(
        learning_rates=geometric(0.25, 4.0, 10),
        estimate_per_class=100,
        **MANY,
        **schedule(1200, 30),
    ),
)
def mnist(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Three convolutions on MNIST, squared error; also estimates of a kernel from few samples."""
    return train(config, checkpoint=checkpoint, progress="mnist")


@case(
    smoke=residual(
        shape=((12,), (1,)), learning_rates=(0.3, 1.0), **{**TINY, "component_seeds": 0}
    ),
    quick=residual(
        learning_rates=(0.1, 0.3, 0.8),
        initialisations=("lecun_normal", "uniform"),
        train_per_class=36,
        test_per_class=100,
        kernel_per_class=3,
        **schedule(80, 6),
    ),
    paper=residual(
        learning_rates=geometric(0.02, 4.0, 10),
        train_per_class=72,
        test_per_class=100,
        kernel_per_class=12,
        **schedule(400, 20),
    ),
)
def digits(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """A narrow residual network on digits, squared error."""
    return train(config, checkpoint=checkpoint, progress="digits")


# It needs longer than the squared error: its gradient fades once the labels are learnt.
entropy = functools.partial(convolutions, loss="ce", component_seeds=0)


@case(
    smoke=entropy(shape=((12,),), learning_rates=(1.0, 1e9), **TINY),
    quick=entropy(learning_rates=geometric(0.03, 0.6, 4), **FEW, **schedule(360, 9)),
    paper=entropy(learning_rates=geometric(0.03, 0.6, 10), **MANY, **schedule(2400, 30)),
)
def cross_entropy(config: Grid, *, checkpoint: Path | None = None) -> xr.Dataset:
    """The same three convolutions on MNIST, trained with cross-entropy."""
    return train(config, checkpoint=checkpoint, progress="cross_entropy")


# --- how they are trained and measured --------------------------------------------------------


def load(config: Grid) -> tuple[data.Dataset, data.Dataset]:
    """The training set, balanced and sorted by class, and the test set.

    Raises:
        ValueError, DownloadError: as `data.load` and `data.balanced_subset`.
    """
    key = jax.random.key(config.seed)
    whole = data.load(config.dataset, dtype=np.float32)
    if whole.name in ("digits", "mnist5k"):
        both = data.split(whole, config.train_per_class, config.test_per_class, key=key)
    else:
        train = data.balanced_subset(whole, config.train_per_class, key=key)
        test = data.load(config.dataset, split="test", dtype=np.float32)
        if config.test_per_class is not None:
            test = data.balanced_subset(test, config.test_per_class, key=key)
        both = train, test
    return tuple(replace(part, x=data.resize(part.x, config.side)) for part in both)


def untrained(config: Grid, channels: int):
    """A stack of networks: initialisations, then learning rates, then seeds.

    A seed gives the same network with every learning rate.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(config.seeds * len(config.learning_rates)))
    return jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        *(_stack(_constructor(config, channels), name, keys) for name in config.initialisations),
    )


def _constructor(config: Grid, channels: int) -> Callable:
    options = {"channels": channels, "momentum": config.norm_momentum}
    return functools.partial(NETWORKS[config.network], *config.shape, **options)


@eqx.filter_jit
def _stack(make, initialisation, keys):
    return eqx.filter_vmap(lambda key: make(initialisation=initialisation, key=key))(keys)


def shape_of(config: Grid, channels: int):
    """One network with the shapes of its arrays in their place; nothing is drawn."""
    make = _constructor(config, channels)
    return eqx.filter_eval_shape(lambda key: make(key=key), jax.random.key(0))


def operations(config: Grid, channels: int) -> float:
    """Floating-point operations of one training step of one run, but for what is negligible.

    Those of the outputs of one image, as the compiler counts them, times the images of a
    batch, times three: the gradients in features and in weights cost once more each.
    """
    model = shape_of(config, channels)
    arrays, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    x = jax.ShapeDtypeStruct((config.side, config.side, channels), jnp.float32)
    lowered = jax.jit(lambda arrays, x: eqx.combine(arrays, static)(x)).lower(arrays, x)
    return 3.0 * 10 * config.batch_per_class * lowered.cost_analysis()["flops"]


def train(
    config: Grid, *, checkpoint: Path | None = None, progress: str = "networks"
) -> xr.Dataset:
    """Train and measure every network of a grid.

    Args:
        config: what to train.
        checkpoint: a file to write the state to and to go on from.
        progress: text of the progress bar.

    Returns:
        Dimensions `run` (coordinates `init`, `learning_rate`, `seed`, `diverged`) and
        `epoch`: what `measures.make_measure` records; of the last epoch also the
        traced kernels (sample × sample2) and the norms of their components (k × s,
        neuron × neuron2; NaN where not taken). Scalars: processor seconds and
        floating-point operations of a training step and processor seconds of a measurement,
        for one run. Where the
        configuration asks for it, `measures.estimates`.

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
    measure = measures.make_measure(
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
        checkpoint=checkpoint,
        checkpoint_every=config.checkpoint_every,
        progress=progress,
    )
    extra = {
        **_components(config, grid, fitted, X, y),
        **_seconds(config, fit, recipe, len(grid)),
        "step_operations": operations(config, X.shape[-1]),
    }
    ds = _dataset(config, grid, fitted, extra)
    if config.estimate_per_class:
        estimates = measures.estimates(
            ds,
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
        ds = ds.assign_coords(estimates.coords).assign(estimates.data_vars)
    return ds


def _components(config: Grid, grid, fitted, X, y) -> dict:
    """Norms of all kernel components at the end, of the first seeds; NaN for the others."""
    chosen = np.flatnonzero(
        np.isin([seed for _, _, seed in grid], config.seeds[: config.component_seeds])
    )
    widths = {"outputs": 10, "features": fitted.model.classifier.weight.shape[-1]}
    whole = {name: np.full((len(grid), width, width), np.nan) for name, width in widths.items()}
    if chosen.size:
        weights, held, static = models.partition(fitted.model)
        some = jax.tree.map(lambda leaf: leaf[chosen], (weights, held))
        rows = measures.first_of_each(y, config.component_per_class)
        sizes = measures.component_sizes(eqx.combine(*some, static), X[rows], chunk=config.chunk)
        for name in widths:
            whole[name][chosen] = sizes[name]
    return {
        "norms_outputs": (("run", "k", "s"), whole["outputs"]),
        "norms_features": (("run", "neuron", "neuron2"), whole["features"]),
    }


def _seconds(config: Grid, fit, recipe, runs: int) -> dict:
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


def _dataset(config: Grid, grid, fitted: training.Fitted, extra: dict) -> xr.Dataset:
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
