r"""P2, sections 3.1–3.2: the spectrum of a block kernel, its three rates, local elasticity.

Cells: ``rates`` (Table 1 and the rates (13)–(15) under gradient descent), ``elasticity``
(steps on single samples of a small network that learns digits, against its own kernel).
"""

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
from ncutils.records import workspace

CELLS = ("rates", "elasticity")
PARTS = ("global", "class", "sample")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        classes, per_class: C and m.
        values: the three kernel values of the rates.
        steps: gradient steps of the rates.
        width: units of both hidden layers.
        epochs: when the network is looked at.
        learning_rate, momentum: of its training.
        nudge: step on one sample, in units of 1 / γ_d.
    """

    cell: str
    seeds: tuple[int, ...]
    classes: int
    per_class: int
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    steps: int = 120
    width: int = 0
    epochs: tuple[int, ...] = ()
    learning_rate: float = 0.2
    momentum: float = 0.9
    nudge: float = 1e-4

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if cell == "rates":
            return cls(cell, seeds=tuple(range((2, 5, 20)[level])), classes=4, per_class=6)
        return cls(
            cell,
            seeds=tuple(range((2, 4, 10)[level])),
            classes=10,
            per_class=(4, 10, 20)[level],
            width=(32, 64, 256)[level],
            epochs=(0, 5, 10, 20, 40, 80, 160, 320)[:: (3, 1, 1)[level]],
        )


def table_error(K: np.ndarray, kernel: BlockKernel, m: int, C: int) -> float:
    """How far Table 1 is from being the spectrum of K, relative to its largest value."""
    single, class_, global_ = (float(v) for v in kernel.eigenvalues(m, C))
    N = m * C
    listed = np.repeat([single, class_, global_], [N - C, C - 1, 1])
    vectors = np.asarray(kernel.eigenvectors(m, C))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    gap = np.abs(vectors @ K - listed[:, None] * vectors).max()
    return float(max(gap, np.abs(np.linalg.eigvalsh(K) - np.sort(listed)).max()) / global_)


def _rates(config: Config) -> xr.Dataset:
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
        found = np.stack([np.asarray(p) for p in (split.global_, split.class_, split.sample)])
        size[i] = np.sqrt((found**2).sum(axis=(2, 3)))
        for j, law in enumerate((powers, powers[[1, 0, 2]])):
            error[i, j] = np.abs(found - found[:, :1] * law[:, :, None, None]).max()
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


def elasticity_of(model, start, X, targets, *, nudge=Config.nudge):  # noqa: ARG001 - as `fit` calls it
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
    same = targets @ targets.T - jnp.eye(len(X), dtype=X.dtype)
    masks = (jnp.eye(len(X), dtype=X.dtype), same, 1 - targets @ targets.T)
    means = lambda M: jnp.stack([jnp.sum(M * mask) / jnp.sum(mask) for mask in masks])  # noqa: E731
    size = jnp.linalg.norm(moved.ravel())
    outputs = jnp.eye(targets.shape[1], dtype=X.dtype)[None, None]
    return {
        "traced": traced,
        "values": means(traced),
        "pull": means(pull),
        "forecast_error": jnp.stack(
            [jnp.linalg.norm((moved - guess).ravel()) / size for guess in (full, equal)]
        ),
        "cross": jnp.sqrt(
            jnp.sum((kernel * (1 - outputs)) ** 2)
            / (targets.shape[1] - 1)
            / jnp.sum((kernel * outputs) ** 2)
        ),
        "loss": training.mean_squared_error(before, targets),
    }


def _elasticity(config: Config) -> xr.Dataset:
    whole = data.load("digits")
    C = config.classes
    recipe = training.Recipe(
        learning_rate=config.learning_rate, epochs=config.epochs[-1], momentum=config.momentum
    )
    found = []
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
        found.append(
            training.fit(
                network, X, targets, recipe, measure=elasticity_of, record_at=config.epochs
            ).records
        )
    both = {name: np.stack([run[name] for run in found]) for name in found[0]}
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


_RUN = {"rates": _rates, "elasticity": _elasticity}


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in _RUN:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _RUN[config.cell](config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("rates", "smoke"),
    quick=Config.at("rates", "quick"),
    paper=Config.at("rates", "paper"),
)
def rates(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("elasticity", "smoke"),
    quick=Config.at("elasticity", "quick"),
    paper=Config.at("elasticity", "paper"),
)
def elasticity(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
