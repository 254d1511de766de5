r"""P3, Figs 2, 8, 9, 11 and 12: networks without biases on top of a convolutional trunk.

Trunk and head are trained together, with targets ±1 and the squared error. Of each layer of
the head is recorded what `weights_and_agop` records of a network's, with the trunk's
features, under running statistics, as inputs.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import linalg, training
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024 import _layers
from ncutils.models.trunks import headed


@dataclass(frozen=True)
class Heads:
    """Heads of one shape on trunks of one kind.

    Attributes:
        seeds: one for each repeat.
        datasets: names of `data.load` with ten classes. gains: of the head, one for each.
        per_class, samples, pool: which images, see `_layers.images`.
        width, hidden: of the head's hidden layers, and how many there are.
        learning_rate, momentum: of the descent.
        batch_size: samples in a batch; a remainder sits out an epoch.
        epochs: passes over the data.
        record_at: epochs after which the network is measured.
        shape: options of the trunk, as pairs.
        at_once: runs trained side by side.
        chunk: images that go through the trunk at a time when it is measured.
    """

    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    gains: tuple[float, ...]
    width: int
    learning_rate: float
    batch_size: int
    epochs: int
    record_at: tuple[int, ...]
    per_class: int | None = None
    samples: int | None = None
    pool: int = 1
    momentum: float = 0.0
    shape: tuple[tuple[str, tuple | int], ...] = ()
    hidden: int = 5
    at_once: int = 1
    chunk: int = 500


def _train(trunk: str, config: Heads, dataset: str, gain: float, checkpoint: Path | None):
    X, y = _layers.images(
        dataset, per_class=config.per_class, samples=config.samples, pool=config.pool
    )
    num_classes = int(y.max()) + 1
    make = functools.partial(
        headed, trunk, side=X.shape[1], channels=X.shape[3], gain=gain,
        hidden=(config.width,) * config.hidden, num_classes=num_classes,
        **dict(config.shape),
    )  # fmt: skip
    seeds = jnp.asarray(config.seeds)
    networks = eqx.filter_jit(eqx.filter_vmap(lambda seed: make(key=jax.random.key(seed))))(seeds)
    widths = (networks.head.weights[0].shape[-1], config.width)
    targets = linalg.signed_one_hot(jnp.asarray(y), num_classes=num_classes)
    return training.fit_ensemble(
        networks,
        jnp.asarray(X),
        targets.astype(jnp.float32),
        training.Recipe(
            config.learning_rate,
            config.epochs,
            momentum=config.momentum,
            batch_size=config.batch_size,
        ),
        shared_data=True,
        at_once=config.at_once,
        measure=_layers.recorder(y, widths, num_classes=num_classes, chunk=config.chunk),
        record_at=config.record_at,
        checkpoint=checkpoint,
        progress=f"{len(config.seeds)} heads on {trunk}, {dataset}",
        key=jax.random.key(1),
    )


def _run(trunk: str, config: Heads, checkpoint: Path | None) -> xr.Dataset:
    """The variables of `weights_and_agop.mlp`, with `dataset` for `gain`, and `diverged`."""
    fits = [
        _train(
            trunk,
            config,
            dataset,
            gain,
            checkpoint and checkpoint.with_name(f"{checkpoint.stem}-{dataset}{checkpoint.suffix}"),
        )
        for dataset, gain in zip(config.datasets, config.gains, strict=True)
    ]
    records = {
        name: (
            ("dataset", "repeat", "epoch", *dims),
            np.stack([np.swapaxes(fit.records[name], 0, 1) for fit in fits]),
        )
        for name, dims in _layers.DIMENSIONS.items()
    }
    diverged = np.stack([fit.diverged for fit in fits])
    return xr.Dataset(
        {**records, "diverged": (("dataset", "repeat"), diverged)},
        coords={
            "dataset": list(config.datasets),
            "gain": ("dataset", list(config.gains)),
            "repeat": list(config.seeds),
            "epoch": list(config.record_at),
            "layer": np.arange(1, config.hidden + 1),
            "stage": list(_layers.STAGES),
            "part": ["within", "between"],
            "width": config.width,
            "inputs": int(fits[0].model.head.weights[0].shape[-1]),
            "learning_rate": config.learning_rate,
        },
        attrs={"dtype": "float32"},
    )


@case(
    smoke=Heads(
        seeds=(0, 1), datasets=("mnist5k",), gains=(1.0,), per_class=6, pool=4, width=16, hidden=2,
        learning_rate=0.3, batch_size=30, epochs=30, record_at=(0, 30),
        shape=(("widths", (16,)), ("blocks", (1,))),
    ),
    quick=Heads(  # the head as wide as what it is given: layers of one shape share compiled code
        seeds=(0, 1, 2), datasets=("mnist5k",), gains=(0.5,), per_class=30, pool=2, width=64,
        learning_rate=0.3, batch_size=100, epochs=400,
        record_at=(0, 20, 40, 80, 140, 200, 300, 400),
        shape=(("widths", (8, 16, 64)), ("blocks", (1, 1, 1))),
    ),
    paper=Heads(
        seeds=(0, 1, 2), datasets=("mnist", "cifar10", "svhn"), gains=(0.2, 0.2, 0.2),
        samples=50_000, width=512, learning_rate=0.05, batch_size=128, epochs=300,
        record_at=tuple(range(0, 301, 20)),
    ),
)  # fmt: skip
def resnet(config: Heads, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Heads on a residual trunk, ResNet18 at the paper's size.

    Source: P3, Appendix D. Differs: the network is measured at every twentieth epoch, not every
        tenth.
    """
    return _run("resnet", config, checkpoint)


@case(
    smoke=Heads(
        seeds=(0, 1), datasets=("mnist5k",), gains=(1.0,), per_class=6, pool=4, width=16, hidden=2,
        learning_rate=0.05, momentum=0.9, batch_size=30, epochs=30, record_at=(0, 30),
        shape=(("stages", ((4,),)), ("grid", 2)),
    ),
    quick=Heads(  # the smallest gain tried with which all seeds leave the plateau in this time
        seeds=(0, 1, 2), datasets=("mnist5k",), gains=(0.7,), per_class=30, pool=2, width=64,
        learning_rate=0.05, momentum=0.9, batch_size=100, epochs=800,
        record_at=(0, 40, 80, 160, 280, 400, 600, 800),
        shape=(("stages", ((6,), (12,), (16, 16))), ("grid", 2)),
    ),
    paper=Heads(
        seeds=(0, 1, 2), datasets=("mnist", "cifar10", "svhn"), gains=(0.2, 0.3, 0.3),
        samples=50_000, width=512, learning_rate=0.01, momentum=0.9, batch_size=128, epochs=600,
        record_at=tuple(range(0, 601, 20)),
    ),
)  # fmt: skip
def vgg(config: Heads, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Heads on the first six convolutions of VGG-11.

    Source: P3, Appendix D. Differs as for `resnet`.
    """
    return _run("vgg", config, checkpoint)
