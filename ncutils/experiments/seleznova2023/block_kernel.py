r"""P2, sections 3.1–3.2: the spectrum of a block kernel, its three rates, local elasticity."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from tqdm import tqdm

from ncutils import block_ntk, data, linalg, models, training
from ncutils.block_ntk import BlockKernel
from ncutils.experiments import case

PARTS = ("global", "class", "sample")
EPOCHS = (0, 5, 10, 20, 40, 80, 160, 320)


@dataclass(frozen=True)
class Rates:
    """Table 1 on kernels with random values, and the rates (13)–(15) under gradient descent.

    Attributes:
        seeds: one for each repeat.
        classes, per_class: C and m.
        values: the three kernel values of the descent.
        steps: of gradient descent.
    """

    seeds: tuple[int, ...]
    classes: int = 4
    per_class: int = 6
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    steps: int = 120


@dataclass(frozen=True)
class Elasticity:
    """Steps on single samples of a small network that learns digits, against its own kernel.

    Attributes:
        seeds: one for each network.
        per_class: digits of each of the ten classes.
        width: units of both hidden layers.
        epochs: when the network is measured.
        learning_rate, momentum: of its training.
        nudge: step on one sample, in units of 1 / γ_d.
    """

    seeds: tuple[int, ...]
    per_class: int
    width: int
    epochs: tuple[int, ...] = EPOCHS
    classes: int = 10
    learning_rate: float = 0.2
    momentum: float = 0.9
    nudge: float = 1e-4


def table_error(K: np.ndarray, kernel: BlockKernel, m: int, C: int) -> float:
    """How far Table 1 is from being the spectrum of K, relative to its largest value."""
    single, class_, global_ = (float(v) for v in kernel.eigenvalues(m, C))
    N = m * C
    listed = np.repeat([single, class_, global_], [N - C, C - 1, 1])
    vectors = np.asarray(kernel.eigenvectors(m, C))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    gap = np.abs(vectors @ K - listed[:, None] * vectors).max()
    return float(max(gap, np.abs(np.linalg.eigvalsh(K) - np.sort(listed)).max()) / global_)


@case(
    smoke=Rates(seeds=(0, 1)),
    quick=Rates(seeds=tuple(range(5))),
    paper=Rates(seeds=tuple(range(20))),
)
def rates(config: Rates) -> xr.Dataset:
    """The three rates and the errors of Table 1, a row for each repeat."""
    C, m = config.classes, config.per_class
    N, labels = C * m, np.repeat(np.arange(config.classes), config.per_class)
    kernel = BlockKernel(*config.values)
    rate = 0.9 / float(kernel.eigenvalues(m, C)[2])
    factors = jnp.stack(block_ntk.contraction_factors(kernel, rate=rate, m=m, C=C))
    powers = np.asarray(factors)[:, None] ** np.arange(config.steps + 1)
    table = np.empty((len(config.seeds), 2))
    size = np.empty((len(config.seeds), len(PARTS), config.steps + 1))
    error = np.empty((len(config.seeds), 2))
    for i, seed in enumerate(config.seeds):
        rng = np.random.default_rng(seed)
        drawn = BlockKernel(*np.cumsum(rng.uniform(0.1, 1.0, 3))[::-1])
        K = np.asarray(drawn.matrix(m, C))
        first = (labels[:, None] == 0) & (labels[None, :] == 0)
        favoured = K + 0.05 * (first & ~np.eye(N, dtype=bool))
        table[i] = table_error(K, drawn, m, C), table_error(favoured, drawn, m, C)
        R = jnp.asarray(rng.normal(size=(C, N)) + rng.normal(size=(C, C))[:, labels])
        path = block_ntk.gradient_descent(R, kernel, rate=rate, steps=config.steps, m=m, C=C)
        split = block_ntk.residual_parts(path, m=m, C=C)
        parts = np.stack([np.asarray(p) for p in (split.global_, split.class_, split.sample)])
        size[i] = np.sqrt((parts**2).sum(axis=(2, 3)))
        for j, law in enumerate((powers, powers[[1, 0, 2]])):
            error[i, j] = np.abs(parts - parts[:, :1] * law[:, :, None, None]).max()
    return xr.Dataset(
        {
            "table_error": (("repeat", "table"), table),
            "size_of_part": (("repeat", "part", "step"), size),
            "law": (("part", "step"), powers),
            "law_error": (("repeat", "law_of"), error),
            "eigenvalue": (("part",), [float(v) for v in kernel.eigenvalues(m, C)][::-1]),
            "matrix": (("i", "j"), np.asarray(kernel.matrix(m, C))),
        },
        coords={
            "repeat": list(config.seeds),
            "table": ["block kernel", "one class differs"],
            "part": list(PARTS),
            "step": np.arange(config.steps + 1),
            "law_of": ["own part", "exchanged"],
        },
    )


def tangent_kernel(model, X: Float[Array, "n d"]) -> Float[Array, "n n c c"]:
    r"""The whole kernel (2), $\Theta_{ks}(x_i, x_j)$, from the Jacobian of every sample."""
    leaves, tree = jax.tree.flatten(model)

    def outputs(leaves, x):
        return jax.tree.unflatten(tree, leaves)(x)

    jacobian = jax.vmap(jax.jacobian(outputs), in_axes=(None, 0))(leaves, X)
    flat = jnp.concatenate([J.reshape(*J.shape[:2], -1) for J in jacobian], axis=2)
    return jnp.einsum("ikp,jsp->ijks", flat, flat)


def elasticity_of(model, start, X, targets, *, nudge=1e-4):  # noqa: ARG001 - as `fit` calls it
    r"""What a step on one sample does to the outputs at the others, and the kernel's forecast.

    The pull of sample i on sample j is
    $-\langle \Delta f(x_j), r_i \rangle / (\eta \lVert r_i \rVert^2)$, which is
    $\Theta_{kk}(x_i, x_j)$ if the kernel is diagonal in the outputs: P2, (6).

    Args:
        model: the network. start: not used.
        X: n inputs. targets: n × C, one row of the identity each.
        nudge: the step in units of $1/\gamma_d$.

    Returns:
        `traced`, the mean kernel over outputs; `values`, its three block means;
        `pull`, three means (the sample itself, its class, other classes); `forecast_error`,
        relative, of the full kernel and of its part with equal outputs;
        `cross`, the size of the kernel between different outputs relative to equal ones.
    """
    kernel = tangent_kernel(model, X)
    traced = jnp.einsum("ijkk->ij", kernel) / targets.shape[1]
    before = models.logits(model, X)
    residual = before - targets
    rate = nudge / jnp.mean(jnp.diagonal(traced))

    def stepped(x, r):
        pull = jax.vjp(lambda net: net(x), model)[1](r)[0]
        return models.logits(jax.tree.map(lambda p, g: p - rate * g, model, pull), X) - before

    moved = jax.lax.map(lambda pair: stepped(*pair), (X, residual))  # i, j, k
    full = -rate * jnp.einsum("jiks,is->ijk", kernel, residual)
    equal = -rate * jnp.einsum("ij,ik->ijk", traced, residual)
    pull = -jnp.einsum("ijk,ik->ij", moved, residual) / rate
    pull /= jnp.sum(residual**2, axis=1)[:, None]
    y, C = jnp.argmax(targets, axis=1), targets.shape[1]
    size = jnp.linalg.norm(moved.ravel())
    outputs = jnp.eye(targets.shape[1], dtype=X.dtype)[None, None]
    return {
        "traced": traced,
        "values": linalg.block_values(traced, y, num_classes=C),
        "pull": linalg.block_values(pull, y, num_classes=C),
        "forecast_error": jnp.stack(
            [jnp.linalg.norm((moved - guess).ravel()) / size for guess in (full, equal)]
        ),
        "cross": jnp.sqrt(
            jnp.sum((kernel * (1 - outputs)) ** 2) / (C - 1) / jnp.sum((kernel * outputs) ** 2)
        ),
        "loss": training.mean_squared_error(before, targets),
    }


@case(
    smoke=Elasticity(seeds=(0, 1), per_class=4, width=32, epochs=EPOCHS[::3]),
    quick=Elasticity(seeds=tuple(range(4)), per_class=10, width=64),
    paper=Elasticity(seeds=tuple(range(10)), per_class=20, width=256),
)
def elasticity(config: Elasticity) -> xr.Dataset:
    """`elasticity_of` each network along its training, a row for each."""
    whole = data.load("digits")
    C = config.classes
    recipe = training.Recipe(
        learning_rate=config.learning_rate, epochs=config.epochs[-1], momentum=config.momentum
    )

    def measure(model, start, X, targets):
        return elasticity_of(model, start, X, targets, nudge=config.nudge)

    records = []
    for seed in tqdm(config.seeds, desc="elasticity"):
        draw, weights = jax.random.split(jax.random.key(seed))
        subset = data.balanced_subset(whole, config.per_class, key=draw)
        order = np.argsort(np.asarray(subset.y), kind="stable")
        X = jnp.asarray(subset.flat)[order] - 0.5
        network = models.mlp(
            (X.shape[1], config.width, config.width, C),
            activation="relu",
            gains=(2**0.5, 2**0.5, 1.0),
            dtype=X.dtype,
            key=weights,
        )
        targets = linalg.one_hot(jnp.asarray(subset.y)[order], num_classes=C).astype(X.dtype)
        done = training.fit(network, X, targets, recipe, measure=measure, record_at=config.epochs)
        records.append(done.records)
    both = {name: np.stack([run[name] for run in records]) for name in records[0]}
    pictures = both.pop("traced")[0][[0, -1]]
    by = ("repeat", "epoch")
    last = {
        "values": ("pair",),
        "pull": ("pair",),
        "forecast_error": ("kernel",),
        "cross": (),
        "loss": (),
    }
    return xr.Dataset(
        {name: ((*by, *last[name]), array) for name, array in both.items()}
        | {"picture": (("when", "i", "j"), pictures.astype(np.float32))},
        coords={
            "repeat": list(config.seeds),
            "epoch": list(config.epochs),
            "pair": ["itself", "same class", "other class"],
            "kernel": ["all outputs", "equal outputs"],
            "when": ["before", "after"],
        },
    )
