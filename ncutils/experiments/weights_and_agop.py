r"""P3, Figs 2, 7 and 10: which part of a layer's weights makes the classes collapse.

A network of five hidden layers without biases learns real digits by plain stochastic
gradient descent on the squared error with targets ±1. Along the way, for each layer with
input features $\Phi$ and weights $W = U S V^\top$: NC1 of $\Phi$, of $S V^\top \Phi$ and of
$\mathrm{ReLU}(W \Phi)$; and how $W^\top W$ correlates with the square root of the AGOP of
the network from that layer on. Everything is repeated over the gain of the first weights.

Cell: ``mlp``.
"""

import itertools
import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from ncutils import agop, data, linalg, metrics, training, workspace

CELLS = ("mlp",)
# Φ, S Vᵀ Φ, ReLU(W Φ); then S times a random rotation of Φ; then the AGOP^(1/4) Φ that the
# ansatz would put in place of S Vᵀ Φ.
STAGES = ("input", "right", "output", "random", "ansatz")


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


class Perceptron(eqx.Module):
    """ReLU layers without biases and a linear read-out without bias.

    `Perceptron(weights[l:])` is the part of the network from layer l + 1 on.
    """

    weights: tuple[Float[Array, "_ _"], ...]

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        """The outputs for one example."""
        for W in self.weights[:-1]:
            x = jax.nn.relu(W @ x)
        return self.weights[-1] @ x


def perceptron(widths: tuple[int, ...], *, gain, key: PRNGKeyArray) -> Perceptron:
    r"""An untrained network, float32, as the paper starts it.

    Hidden layers: uniform with variance $2 g^2 / (d_{in} + d_{out})$. Read-out: uniform in
    $\pm 1/\sqrt{d_{in}}$.

    Args:
        widths: input, hidden layers, output.
        gain: g.
        key: random key.

    Source: P3, Appendix D, and its released code.
    """
    layers = list(itertools.pairwise(widths))
    ends = [gain * math.sqrt(6 / (a + b)) for a, b in layers[:-1]] + [1 / math.sqrt(widths[-2])]
    # one long draw, cut up: a draw for each layer takes seconds to compile
    draw = jax.random.uniform(key, (sum(a * b for a, b in layers),), jnp.float32, -1.0, 1.0)
    cuts = np.cumsum([a * b for a, b in layers])[:-1]
    parts = zip(jnp.split(draw, cuts), ends, layers, strict=True)
    return Perceptron(tuple(end * part.reshape(b, a) for part, end, (a, b) in parts))


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


def rotation(size: int, seed: int) -> Float[np.ndarray, "d d"]:
    """A random rotation or reflection, the same chance for all."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return q * np.sign(np.diagonal(r))


def look_at_layer(
    W: Float[Array, "p d"],
    inputs: Float[Array, "n d"],
    A: Float[Array, "d d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    turn: Float[Array, "d d"],
) -> dict[str, Array]:
    r"""NC1 at each of `STAGES` of one layer, and the neural feature ansatz with its chance level.

    NC1 of $S V^\top \Phi$ is that of $W \Phi$, because U is a rotation.

    Args:
        W: weights. inputs: the features Φ, one row a sample. A: AGOP of the rest of the
            network with respect to them. y: labels.
        num_classes: C.
        turn: a random rotation, in place of V and of the basis of A.

    Returns:
        "nc1" (stages), "nfa", and "chance": the same with A in another basis.
    """
    root = linalg.psd_sqrt(A)
    singular = jnp.linalg.svd(W, compute_uv=False)
    at = {
        "input": inputs,
        "right": inputs @ W.T,
        "output": jax.nn.relu(inputs @ W.T),
        "random": (inputs @ turn)[:, : len(singular)] * singular[None, :],
        "ansatz": inputs @ linalg.psd_sqrt(root),
    }
    return {
        "nc1": jnp.stack([metrics.nc1(at[s], y, num_classes=num_classes) for s in STAGES]),
        "nfa": agop.ansatz_correlation(W, A),
        "chance": agop.pearson(W.T @ W, turn @ root @ turn.T),
    }


def shares(H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int) -> Float[Array, " 2"]:
    """Shares of the variance of features that lie within and between (balanced) classes."""
    ratio = metrics.nc1(H, y, num_classes=num_classes)
    return jnp.stack([ratio, jnp.ones_like(ratio)]) / (1 + ratio)


def measure(network: Perceptron, X, y, dealt, turns, *, num_classes: int) -> dict[str, Array]:
    """What is recorded: each layer, the last features, the loss; in float64 but for the AGOP.

    Args:
        network: float32. X: inputs. y: labels. dealt: the same labels in random order.
        turns: a random rotation of the inputs, and one of the hidden layers.
        num_classes: C.
    """
    seen, inputs = [], X.astype(float)
    for number, W in enumerate(network.weights[:-1]):
        rest = Perceptron(network.weights[number:])
        A = agop.agop(rest, inputs.astype(X.dtype)).astype(float)
        seen.append((W.astype(float), inputs, A))
        inputs = jax.nn.relu(inputs @ W.astype(float).T)

    def look(layer, turn):
        return look_at_layer(*layer, y, num_classes=num_classes, turn=turn)

    first = look(seen[0], turns[0])
    hidden = jax.tree.map(lambda *parts: jnp.stack(parts), *seen[1:])
    later = jax.lax.map(lambda layer: look(layer, turns[1]), hidden)
    outputs = inputs @ network.weights[-1].astype(float).T
    targets = 2 * linalg.one_hot(y, num_classes=num_classes) - 1
    return {
        **jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later),
        "shares": shares(inputs, y, num_classes=num_classes),
        "shares_dealt": shares(inputs, dealt, num_classes=num_classes),
        "loss": jnp.mean((outputs - targets) ** 2),
        "accuracy": jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(float)),
    }


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
