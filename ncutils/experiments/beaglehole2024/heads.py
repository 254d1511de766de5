r"""P3, Figs 2, 8, 9, 11 and 12: perceptrons on top of a convolutional trunk.

Trunk and head are trained together, with targets ±1 and the squared error. Of each layer of
the head is recorded what `weights_and_agop` records of a perceptron's, with the trunk's
features, under running statistics, as inputs.

Cells: ``resnet``, ``vgg``.
"""

import functools
from dataclasses import dataclass, field

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import data, linalg, training
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024 import _perceptrons as perceptrons
from ncutils.experiments.beaglehole2024 import weights_and_agop
from ncutils.models.trunks import Headed, headed
from ncutils.records import workspace

CELLS = ("resnet", "vgg")


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers.

    Attributes:
        trunk: a name of `_trunks.TRUNKS`. shape: its options, as pairs.
        datasets: names of `data.load` with ten classes. gains: of the head, one for each.
        per_class: samples of each class; None for the first `samples` of the set.
        samples: how many, if `per_class` is None.
        pool: images are averaged over squares of this many pixels a side.
        width, hidden: of the head's hidden layers, and how many there are.
        learning_rate, momentum: of the descent.
        batch_per_class: samples of each class in a batch.
        epochs: passes over the data.
        record_at: epochs after which the network is measured.
        seeds: one for each repeat.
        at_once: runs trained side by side.
        chunk: images that go through the trunk at a time when it is measured.
    """

    trunk: str
    datasets: tuple[str, ...]
    gains: tuple[float, ...]
    per_class: int | None
    pool: int
    width: int
    learning_rate: float
    batch_per_class: int
    epochs: int
    record_at: tuple[int, ...]
    shape: tuple[tuple[str, tuple | int], ...] = field(default=())
    momentum: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2)
    samples: int | None = None
    at_once: int = 1
    chunk: int = 500
    hidden: int = 5

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The settings at a scale; "paper" has the paper's own.

        Raises:
            ValueError: for an unknown cell or scale.

        Source: P3, Appendix D. Differs: batches are of 130 with 13 of each class, not of 128
            at random, and the network is measured at every twentieth epoch, not every tenth.
        """
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        vgg = cell == "vgg"
        index = workspace.SCALES.index(workspace.check_scale(scale))
        if index == 2:
            epochs = 600 if vgg else 300
            return cls(
                cell, ("mnist", "cifar10", "svhn"), (0.2, 0.3, 0.3) if vgg else (0.2, 0.2, 0.2),
                None, 1, 512, 0.01 if vgg else 0.05, 13, epochs, tuple(range(0, epochs + 1, 20)),
                momentum=0.9 if vgg else 0.0, samples=50_000,
            )  # fmt: skip
        if index == 0:
            stages, widths, head = ((4,),), (16,), 16
            settings = {
                "per_class": 6,
                "pool": 4,
                "batch_per_class": 3,
                "seeds": (0, 1),
                "hidden": 2,
            }
            epochs, record_at, gain = 30, (0, 30), 1.0
        else:  # the head as wide as what it is given: layers of one shape share compiled code
            stages, widths, head = ((6,), (12,), (16, 16)), (8, 16, 64), 64
            settings = {"per_class": 30, "pool": 2, "batch_per_class": 10}
            # the smallest gains tried with which all seeds leave the plateau and fit in this time
            epochs, gain = (800, 0.7) if vgg else (400, 0.5)
            record_at = tuple(round(epochs * k) for k in (0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1))
        resnet = (("widths", widths), ("blocks", (1,) * len(widths)))
        return cls(
            cell, ("mnist5k",), (gain,), width=head, epochs=epochs, record_at=record_at,
            learning_rate=0.05 if vgg else 0.3, momentum=0.9 if vgg else 0.0,
            shape=(("stages", stages), ("grid", 2)) if vgg else resnet, **settings,
        )  # fmt: skip


def images(config: Config, dataset: str):
    """Standardised images n × h × w × c and their labels, sorted by class."""
    given = weights_and_agop.Config(
        dataset, config.per_class, config.pool, config.width, (), 0.0, 0, 0, (),
        samples=config.samples,
    )  # fmt: skip
    X, y = weights_and_agop.digits(given)
    _, h, w, c = data.load(dataset).x.shape
    return X.reshape(len(X), h // config.pool, w // config.pool, c), y


def watcher(y, turns, *, num_classes: int, chunk: int):
    """What `training.fit_ensemble` is to record of a `Headed` network.

    Args:
        y: labels of the images.
        turns: a random rotation of the head's inputs, and one of its hidden layers.
        num_classes: C.
        chunk: images at a time.
    """
    dealt = jnp.asarray(np.random.default_rng(0).permutation(y))
    y = jnp.asarray(y)

    def measure(network: Headed, start, X, targets):
        del start, targets
        H = jax.lax.map(network.trunk, X, batch_size=min(chunk, len(X)))
        return perceptrons.measure(network.head, H, y, dealt, turns, num_classes=num_classes)

    return measure


def _train(config: Config, dataset: str, gain: float) -> training.Fitted:
    X, y = images(config, dataset)
    num_classes = int(y.max()) + 1
    make = functools.partial(
        headed, config.trunk, side=X.shape[1], channels=X.shape[3], gain=gain,
        hidden=(config.width,) * config.hidden, num_classes=num_classes,
        **dict(config.shape),
    )  # fmt: skip
    seeds = jnp.asarray(config.seeds)
    networks = eqx.filter_jit(eqx.filter_vmap(lambda seed: make(key=jax.random.key(seed))))(seeds)
    inputs = networks.head.weights[0].shape[-1]
    turns = [jnp.asarray(perceptrons.rotation(s, seed=s)) for s in (inputs, config.width)]
    return training.fit_ensemble(
        networks,
        jnp.asarray(X),
        (2 * linalg.one_hot(jnp.asarray(y), num_classes=num_classes) - 1).astype(jnp.float32),
        training.Recipe(
            config.learning_rate,
            config.epochs,
            momentum=config.momentum,
            per_class=config.batch_per_class,
        ),
        shared_data=True,
        at_once=config.at_once,
        measure=watcher(y, turns, num_classes=num_classes, chunk=config.chunk),
        record_at=config.record_at,
        labels=y,
        progress=f"{len(config.seeds)} heads on {config.trunk}, {dataset}",
        key=jax.random.key(1),
    )


def run(config: Config) -> xr.Dataset:
    """Train and measure all networks.

    Args:
        config: from `Config.at`, or any other.

    Returns:
        The variables of `weights_and_agop.run` with `dataset` in place of `gain`, and
        `diverged` (dataset, repeat).
    """
    found = [_train(config, *pair) for pair in zip(config.datasets, config.gains, strict=True)]
    axes = {
        "nc1": ("layer", "stage"),
        "nfa": ("layer",),
        "chance": ("layer",),
        "shares": ("part",),
        "shares_dealt": ("part",),
        "loss": (),
        "accuracy": (),
    }
    lead = ("dataset", "repeat", "epoch")
    records = {
        name: (
            (*lead, *rest),
            np.stack([np.swapaxes(one.records[name], 0, 1) for one in found]),
        )
        for name, rest in axes.items()
    }
    diverged = np.stack([one.diverged for one in found])
    return xr.Dataset(
        {**records, "diverged": (("dataset", "repeat"), diverged)},
        coords={
            "dataset": list(config.datasets),
            "gain": ("dataset", list(config.gains)),
            "repeat": list(config.seeds),
            "epoch": list(config.record_at),
            "layer": np.arange(1, config.hidden + 1),
            "stage": list(perceptrons.STAGES),
            "part": ["within", "between"],
            "width": config.width,
            "inputs": int(found[0].model.head.weights[0].shape[-1]),
            "learning_rate": config.learning_rate,
        },
        attrs={"dtype": "float32"},
    )


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("resnet", "smoke"),
    quick=Config.at("resnet", "quick"),
    paper=Config.at("resnet", "paper"),
)
def resnet(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("vgg", "smoke"),
    quick=Config.at("vgg", "quick"),
    paper=Config.at("vgg", "paper"),
)
def vgg(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
