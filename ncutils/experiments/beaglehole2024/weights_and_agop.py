r"""P3, Figs 2, 7 and 10: which part of a layer's weights makes the classes collapse.

A network of five hidden layers without biases learns real digits by plain stochastic
gradient descent on the squared error with targets ±1. Along the way, for each layer with
input features $\Phi$ and weights $W = U S V^\top$: NC1 of $\Phi$, of $S V^\top \Phi$ and of
$\mathrm{ReLU}(W \Phi)$; and how $W^\top W$ correlates with the square root of the AGOP of
the network from that layer on. Everything is repeated over the gain of the first weights.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import linalg, models, training
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024 import _layers


@dataclass(frozen=True)
class Perceptrons:
    """Networks of one shape, for some gains and seeds.

    Attributes:
        seeds: one for each repeat.
        dataset: a name of `data.load` with ten classes.
        per_class, samples, pool: which images, see `_layers.images`.
        width, hidden: of the hidden layers, and how many there are.
        gains: of the uniform Glorot initialisation of the hidden layers.
        learning_rate: η, the same for all gains.
        batch_size: samples in a batch; a remainder sits out an epoch.
        epochs: passes over the data.
        record_at: epochs after which the network is measured.
        at_once: runs trained side by side; 1 is fastest on a processor.
    """

    seeds: tuple[int, ...]
    dataset: str
    per_class: int | None
    pool: int
    width: int
    gains: tuple[float, ...]
    learning_rate: float
    batch_size: int
    epochs: int
    record_at: tuple[int, ...]
    samples: int | None = None
    at_once: int = 1
    hidden: int = 5


@eqx.filter_jit
def _start(seeds, gains, widths):
    make = lambda seed, gain: models.unbiased_mlp(widths, gain=gain, key=jax.random.key(seed))  # noqa: E731
    return jax.vmap(make)(seeds, gains)


@case(
    smoke=Perceptrons(
        seeds=(0, 1), dataset="mnist5k", per_class=12, pool=4, width=24, gains=(0.5, 1.0),
        learning_rate=0.3, batch_size=60, epochs=400, record_at=(0, 100, 400),
    ),
    quick=Perceptrons(
        seeds=(0, 1, 2), dataset="mnist5k", per_class=50, pool=2, width=64,
        gains=(0.2, 0.3, 0.5, 0.7, 1.0), learning_rate=0.5, batch_size=125, epochs=2000,
        record_at=(0, 25, 100, 250, 500, 800, 1100, 1400, 2000),
    ),
    paper=Perceptrons(  # the paper's own sizes, and more gains
        seeds=(0, 1, 2), dataset="mnist", per_class=None, samples=50_000, pool=1, width=512,
        gains=(0.1, 0.2, 0.3, 0.5, 0.7, 1.0), learning_rate=0.05, batch_size=128, epochs=500,
        record_at=tuple(range(0, 501, 10)), at_once=18,
    ),
)  # fmt: skip
def mlp(config: Perceptrons, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Train and measure all networks.

    Args:
        config: their sizes and training.
        checkpoint: a file to go on from.

    Returns:
        `nc1` (gain, repeat, epoch, layer, stage), natural scale; `nfa` and `chance` (gain,
        repeat, epoch, layer); `shares` and `shares_dealt`, the same under random labels
        (gain, repeat, epoch, part), of the last hidden layer; `loss` (mean squared error)
        and `accuracy` on the training set (gain, repeat, epoch).

    Source: P3, Appendix D.
    """
    X, y = _layers.images(
        config.dataset, per_class=config.per_class, samples=config.samples, pool=config.pool
    )
    X, num_classes = jnp.asarray(X.reshape(len(X), -1)), int(y.max()) + 1
    widths = (X.shape[1], *(config.width,) * config.hidden, num_classes)
    seeds = jnp.asarray([seed for _ in config.gains for seed in config.seeds])
    gains = jnp.asarray([gain for gain in config.gains for _ in config.seeds], jnp.float32)
    fitted = training.fit_ensemble(
        _start(seeds, gains, widths),
        X,
        linalg.signed_one_hot(jnp.asarray(y), num_classes=num_classes).astype(X.dtype),
        training.Recipe(config.learning_rate, config.epochs, batch_size=config.batch_size),
        shared_data=True,
        at_once=config.at_once,
        measure=_layers.recorder(y, widths[:2], num_classes=num_classes),
        record_at=config.record_at,
        checkpoint=checkpoint,
        progress=f"{len(seeds)} networks",
        # a run's batches depend on its seed alone
        key=jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(seeds),
    )
    shape = (len(config.gains), len(config.seeds), len(config.record_at))
    return xr.Dataset(
        {
            name: (
                ("gain", "repeat", "epoch", *dims),
                np.swapaxes(fitted.records[name], 0, 1).reshape(
                    *shape, *fitted.records[name].shape[2:]
                ),
            )
            for name, dims in _layers.DIMENSIONS.items()
        },
        coords={
            "gain": list(config.gains),
            "repeat": list(config.seeds),
            "epoch": list(config.record_at),
            "layer": np.arange(1, config.hidden + 1),
            "stage": list(_layers.STAGES),
            "part": ["within", "between"],
            "samples": len(y),
            "width": config.width,
            "inputs": X.shape[1],
            "learning_rate": config.learning_rate,
        },
        attrs={"dtype": "float32"},
    )
