r"""P3, Section 3: AGOPs of linear maps, kernel machines and a trained network, on real digits.

A linear interpolator, whose AGOP collapses the classes in one step; kernel
machines, whose AGOP has two closed forms; and three networks of ReLU layers, for which
$W^\top W$ is set against the square root of the AGOP at the input of each layer.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import agop, data, linalg, metrics, training
from ncutils.experiments import case
from ncutils.experiments.beaglehole2024._layers import rotation
from ncutils.models import MLP, Dense, unbiased_mlp


@dataclass(frozen=True)
class Digits:
    """What decides the numbers.

    Attributes:
        seeds: one for each repeat: digits drawn, and weights drawn.
        per_class: digits of each class. few: the same for the linear interpolator, which
            must have more coordinates than samples.
        hidden: widths of the hidden layers. gain, learning_rate, epochs: of the training,
            by full batches. record_at: epochs after which the ansatz is measured.
        bandwidth, ridge: of the kernel machines.
        turns: random rotations for the chance level.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    per_class: int = 30
    few: int = 4
    hidden: tuple[int, ...] = (64, 64, 64)
    gain: float = 0.5
    learning_rate: float = 0.5
    epochs: int = 700
    record_at: tuple[int, ...] = (0, 50, 100, 200, 400, 700)
    bandwidth: float = 2.0
    ridge: float = 1e-3
    turns: int = 3


def labelled_digits(seed: int, per_class: int, *, centred: bool = True):
    """Digits of 8 × 8 pixels, sorted by class, standardised or not, and their ±1 targets."""
    digits = data.balanced_subset(data.load("digits"), per_class, key=jax.random.key(seed))
    X, y = jnp.asarray(digits.flat), jnp.asarray(digits.y)
    (X,) = data.standardise(X) if centred else (X,)
    return X, y, linalg.signed_one_hot(y, num_classes=10)


def _linear(config: Digits, seed: int) -> dict:
    """NC1 of digits before and after M^{1/2}, M the AGOP of a linear interpolator or ridge."""
    # centred rows are linearly dependent, and no linear map could interpolate them
    X, y, Y = labelled_digits(seed, config.few, centred=False)
    X = data.unit_rows(X)
    after, errors, wrong = [], [], []
    for ridge in (0.0, 0.1):
        gram = X @ X.T + ridge * jnp.eye(len(X))
        W = (X.T @ jnp.linalg.solve(gram, Y)).T
        M = agop.agop(Dense(W), X)
        plain = jnp.trace(M) / len(M) * jnp.eye(len(M))
        for other, gaps in ((W.T @ W, errors), (plain, wrong)):
            gaps.append(float(jnp.linalg.norm(M - other) / jnp.linalg.norm(M)))
        after.append(metrics.nc1(X @ linalg.psd_sqrt(M), y, num_classes=10))
    before = metrics.nc1(X, y, num_classes=10)
    return {
        "linear_nc1": np.array([before, *after], float),
        "linear_error": np.array(max(errors)),
        "linear_wrong": np.array(min(wrong)),
    }


def _kernels(config: Digits, seed: int) -> dict:
    """Relative errors of the closed forms against autodiff, and the diagonals of the AGOPs."""
    X, _, Y = labelled_digits(seed, config.per_class)
    X = data.unit_rows(X)
    errors, wrong, diagonals = [], [], []
    for kernel in agop.KERNELS:
        options = {"kernel": kernel, "bandwidth": config.bandwidth}
        machine = agop.kernel_ridge(X, Y, **options, ridge=config.ridge)
        slow = agop.agop(machine, X)
        gap = lambda M, slow=slow: float(jnp.linalg.norm(M - slow) / jnp.linalg.norm(slow))  # noqa: E731
        fast = [agop.kernel_agop(machine.alpha, X, **options, form=form) for form in agop.FORMS]
        errors.append([gap(M) for M in fast])
        off = options | {"bandwidth": 1.01 * config.bandwidth}
        wrong.append(gap(agop.kernel_agop(machine.alpha, X, **off)))
        diagonals.append(jnp.diagonal(slow))
    return {
        "kernel_error": np.array(errors),
        "kernel_wrong": np.array(wrong),
        "kernel_diagonal": np.array(diagonals),
    }


def _correlations(network: MLP, X, turns) -> np.ndarray:
    """By layer: Pearson correlation of WᵀW with the AGOP's root, with the AGOP, and by chance."""
    rows = []
    for number, W in enumerate(network.weights[:-1]):
        A = agop.agop(network.tail(number), X)
        root, square = linalg.psd_sqrt(A), W.T @ W
        chance = np.mean([agop.pearson(square, Q @ root @ Q.T) for Q in turns])
        rows.append([agop.pearson(square, root), agop.pearson(square, A), chance])
        X = jax.nn.relu(X @ W.T)
    return np.array(rows, float)


def _weights(network: MLP, start, X, targets) -> dict:
    """What training records: the weights, for the correlations to be taken afterwards."""
    del start, X, targets
    return {str(number): W for number, W in enumerate(network.weights)}


def _networks(config: Digits, seed: int) -> dict:
    X, y, Y = labelled_digits(seed, config.per_class)
    X, Y = X.astype(jnp.float32), Y.astype(jnp.float32)
    start = unbiased_mlp((64, *config.hidden, 10), gain=config.gain, key=jax.random.key(seed))
    turns = [jnp.asarray(rotation(64, seed=k), jnp.float32) for k in range(config.turns)]
    recipe = training.Recipe(config.learning_rate, config.epochs)
    records = training.fit(
        start, X, Y, recipe, measure=_weights, record_at=config.record_at
    ).records
    correlations, losses = [], []
    for at, _ in enumerate(config.record_at):
        weights = [jnp.asarray(records[str(number)][at]) for number in range(len(records))]
        network = MLP(tuple(map(Dense, weights)), "relu")
        outputs = jax.vmap(network)(X)
        losses.append(float(training.mean_squared_error(outputs, Y)))
        correlations.append(_correlations(network, X, turns))
    W = network.weights[0]
    root = linalg.psd_sqrt(agop.agop(network, X))
    right = jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(float))
    return {
        "correlation": np.array(correlations),
        "loss": np.array(losses),
        "accuracy": np.array(float(right)),
        "network_diagonal": np.array([jnp.sum(W**2, axis=0), jnp.diagonal(root)], float),
    }


@case(
    smoke=Digits(seeds=(0, 1), per_class=6, epochs=60, record_at=(0, 60), turns=2),
    quick=Digits(),
    paper=Digits(),  # the paper has no such figure
)
def digits(config: Digits) -> xr.Dataset:
    """AGOPs of an interpolator, of kernel machines and of networks; one row a repeat."""
    rows = [
        _linear(config, seed) | _kernels(config, seed) | _networks(config, seed)
        for seed in config.seeds
    ]
    dims = {
        "linear_nc1": ("inputs",),
        "linear_error": (),
        "linear_wrong": (),
        "kernel_error": ("kernel", "form"),
        "kernel_wrong": ("kernel",),
        "kernel_diagonal": ("kernel", "pixel"),
        "correlation": ("epoch", "layer", "compared"),
        "loss": ("epoch",),
        "accuracy": (),
        "network_diagonal": ("matrix", "pixel"),
    }
    return xr.Dataset(
        {
            name: (("repeat", *axes), np.stack([row[name] for row in rows]))
            for name, axes in dims.items()
        },
        coords={
            "repeat": list(config.seeds),
            "inputs": ["before", "interpolated", "ridge"],
            "kernel": list(agop.KERNELS),
            "form": list(agop.FORMS),
            "epoch": list(config.record_at),
            "layer": np.arange(1, len(config.hidden) + 1),
            "compared": ["root of the AGOP", "AGOP", "chance"],
            "matrix": ["weights", "root of the AGOP"],
        },
        attrs={"dtype": "float32"},
    )
