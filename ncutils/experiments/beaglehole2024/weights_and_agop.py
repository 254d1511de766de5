r"""P3, Figs 2, 7 and 10: which part of a layer's weights makes the classes collapse.

A network of five hidden layers without biases learns real digits by plain stochastic
gradient descent on the squared error with targets ±1. Along the way, for each layer with
input features $\Phi$ and weights $W = U S V^\top$: NC1 of $\Phi$, of $S V^\top \Phi$ and of
$\mathrm{ReLU}(W \Phi)$; and how $W^\top W$ correlates with the square root of the AGOP of
the network from that layer on. Everything is repeated over the gain of the first weights.

Cell: ``mlp``.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, Int
from tqdm import tqdm

from ncutils import data, linalg, training
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024._perceptrons import STAGES, measure, rotation
from ncutils.models import perceptron
from ncutils.records import workspace

CELLS = ("mlp",)


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers.

    Attributes:
        dataset: a name of `data.load` with ten classes.
        per_class: samples of each class; None for the first `samples` of the set.
        samples: how many, if `per_class` is None.
        pool: images are averaged over squares of this many pixels a side.
        width: of each hidden layer.
        gains: of the uniform Glorot initialisation of the hidden layers.
        learning_rate: η, the same for all gains.
        batch: samples in a batch; a remainder sits out an epoch.
        epochs: passes over the data.
        record_at: epochs after which the network is measured.
        seeds: one for each repeat.
        at_once: runs trained side by side; 1 is fastest on a processor.
        hidden: hidden layers.
    """

    dataset: str
    per_class: int | None
    pool: int
    width: int
    gains: tuple[float, ...]
    learning_rate: float
    batch: int
    epochs: int
    record_at: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    samples: int | None = None
    at_once: int = 1
    hidden: int = 5

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The settings at a scale; "paper" has the paper's own, and more gains.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        index = workspace.SCALES.index(workspace.check_scale(scale))
        gains = ((0.5, 1.0), (0.2, 0.3, 0.5, 0.7, 1.0), (0.1, 0.2, 0.3, 0.5, 0.7, 1.0))[index]
        if index == 2:
            return cls(
                "mnist", None, 1, 512, gains, 0.05, 128, 500, tuple(range(0, 501, 10)),
                samples=50_000, at_once=len(gains) * 3,
            )  # fmt: skip
        if index == 1:
            at = (0, 25, 100, 250, 500, 800, 1100, 1400, 2000)
            return cls("mnist5k", 50, 2, 64, gains, 0.5, 125, 2000, at)
        return cls("mnist5k", 12, 4, 24, gains, 0.3, 60, 400, (0, 100, 400), seeds=(0, 1))


def digits(config: Config) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Standardised images as rows, and their labels, sorted by class.

    Each pixel has mean 0 and (unbiased) standard deviation 1 over the samples; a pixel
    that never varies is 0.
    """
    whole = data.load(config.dataset)
    if config.per_class is not None:
        whole = data.balanced_subset(whole, config.per_class, key=jax.random.key(0))
    x, y = whole.x[: config.samples], whole.y[: config.samples]
    n, h, w, c = x.shape
    p = config.pool
    x = x.reshape(n, h // p, p, w // p, p, c).mean(axis=(2, 4)).reshape(n, -1)
    spread = x.std(axis=0, ddof=1)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    order = np.argsort(y, kind="stable")
    return x[order].astype(np.float32), y[order]


@eqx.filter_jit
def _start(seeds, gains, widths):
    make = lambda seed, gain: perceptron(widths, gain=gain, key=jax.random.key(seed))  # noqa: E731
    return jax.vmap(make)(seeds, gains)


@eqx.filter_jit
def _advance(networks, seeds, X, targets, first, last, learning_rate, batch, at_once):
    """Epochs `first` to `last` of all runs; a run's batches depend on its seed alone."""
    batches = X.shape[0] // batch
    sgd = optax.sgd(learning_rate)

    def loss(network, rows):
        return training.mean_squared_error(jax.vmap(network)(X[rows]), targets[rows])

    def step(network, rows):
        updates, _ = sgd.update(jax.grad(loss)(network, rows), sgd.init(network))
        return optax.apply_updates(network, updates), None

    def epoch(number, run):
        network, key = run
        order = jax.random.permutation(jax.random.fold_in(key, number), X.shape[0])
        rows = order[: batches * batch].reshape(batches, batch)
        return jax.lax.scan(step, network, rows)[0], key

    def one(run):
        network, seed = run
        key = jax.random.fold_in(jax.random.key(seed), 1)
        return jax.lax.fori_loop(first, last, epoch, (network, key))[0]

    return jax.lax.map(one, (networks, seeds), batch_size=at_once)


@eqx.filter_jit
def _measure(networks, X, y, dealt, turns, num_classes):
    look = lambda network: measure(network, X, y, dealt, turns, num_classes=num_classes)  # noqa: E731
    return jax.lax.map(look, networks)


def run(config: Config) -> xr.Dataset:
    """Train and measure all networks.

    Args:
        config: from `Config.at`, or any other.

    Returns:
        `nc1` (gain, repeat, epoch, layer, stage), natural scale; `nfa` and `chance` (gain,
        repeat, epoch, layer); `shares` and `shares_dealt`, the same under random labels
        (gain, repeat, epoch, part), of the last hidden layer; `loss` (mean squared error)
        and `accuracy` on the training set (gain, repeat, epoch).
    """
    X, y = digits(config)
    num_classes = int(y.max()) + 1
    widths = (X.shape[1], *(config.width,) * config.hidden, num_classes)
    grid = [(g, s) for g in config.gains for s in config.seeds]
    gains = jnp.asarray([g for g, _ in grid], jnp.float32)
    seeds = jnp.asarray([s for _, s in grid])
    dealt = jnp.asarray(np.random.default_rng(0).permutation(y))
    turns = [jnp.asarray(rotation(size, seed=size)) for size in widths[:2]]
    X, y = jnp.asarray(X), jnp.asarray(y)
    targets = (2 * linalg.one_hot(y, num_classes=num_classes) - 1).astype(X.dtype)
    networks, before, records = _start(seeds, gains, widths), 0, []
    settings = (jnp.float32(config.learning_rate), config.batch, config.at_once)
    with tqdm(total=config.epochs, desc=f"{len(grid)} networks", unit="epoch") as bar:
        for epoch in config.record_at:
            span = (jnp.asarray(before), jnp.asarray(epoch))
            networks = _advance(networks, seeds, X, targets, *span, *settings)
            found = _measure(networks, X, y, dealt, turns, num_classes)
            records.append(jax.tree.map(np.asarray, found))
            bar.update(epoch - before)
            before = epoch
    dims = {
        "nc1": ("layer", "stage"),
        "nfa": ("layer",),
        "chance": ("layer",),
        "shares": ("part",),
        "shares_dealt": ("part",),
        "loss": (),
        "accuracy": (),
    }
    lead = (len(config.gains), len(config.seeds))

    def gather(name):
        stacked = np.stack([record[name] for record in records], axis=1)
        return stacked.reshape(*lead, *stacked.shape[1:])

    return xr.Dataset(
        {name: (("gain", "repeat", "epoch", *rest), gather(name)) for name, rest in dims.items()},
        coords={
            "gain": list(config.gains),
            "repeat": list(config.seeds),
            "epoch": list(config.record_at),
            "layer": np.arange(1, config.hidden + 1),
            "stage": list(STAGES),
            "part": ["within", "between"],
            "samples": len(y),
            "width": config.width,
            "inputs": X.shape[1],
            "learning_rate": config.learning_rate,
        },
        attrs={"dtype": "float32"},
    )


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("mlp", "smoke"),
    quick=Config.at("mlp", "quick"),
    paper=Config.at("mlp", "paper"),
)
def mlp(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
