r"""When does the tangent kernel show more collapse than the NNGP kernel?

Cells: ``random_sets`` (the mediant form, the ReLU identity and its criterion on random
Gaussian classes; two classes on two rays), ``networks`` (deep and convolutional networks
of infinite width on digits).
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from ncutils import data, kernels, linalg, metrics
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._sweeps import released_ntk_erf
from ncutils.experiments.kothapalli2025.kernel_nc1 import INPUTS, ordered_digits, unit_rows
from ncutils.records import workspace

CELLS = ("random_sets", "networks")
ARCHITECTURES = ("dense", "conv", "conv-pool")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat; ``random_sets`` splits its only one.
        dims: input dimensions of the random sets.
        sets: random sets of each dimension.
        per_class, depth, pixels: digits of each class, hidden layers, side of an image.
    """

    cell: str
    seeds: tuple[int, ...]
    dims: tuple[int, ...] = ()
    sets: int = 0
    per_class: int = 0
    depth: int = 0
    pixels: int = 0

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if cell == "random_sets":
            return cls(cell, seeds=(0,), dims=(2, 3, 8, 32), sets=(25, 100, 1000)[level])
        return cls(
            cell,
            seeds=tuple(range((1, 4, 10)[level])),
            per_class=(2, 10, 20)[level],
            depth=(1, 4, 6)[level],
            pixels=(7, 7, 14)[level],
        )


def first_order_part(X: Float[Array, "n d"], *, activation: str) -> Float[Array, "n n"]:
    r"""$K \odot \dot Q$, the part of the tangent kernel that the first layer's weights give."""
    K = X @ X.T / X.shape[1]
    diagonal = jnp.diagonal(K)
    if activation == "erf":
        product = (1 + 2 * diagonal)[:, None] * (1 + 2 * diagonal)[None, :]
        return K * 4 / math.pi / jnp.sqrt(product - 4 * K * K)
    return K * (math.pi - _angles(K)) / (2 * math.pi)


def _angles(K):
    """Angles between the inputs; exactly zero on the diagonal."""
    norm = jnp.sqrt(jnp.diagonal(K))
    cosine = jnp.clip(K / (norm[:, None] * norm[None, :]), -1.0, 1.0)
    return jnp.arccos(cosine) * (1 - jnp.eye(len(K)))


def sine_part(X: Float[Array, "n d"]) -> Float[Array, "n n"]:
    r"""$P_{ij} = \frac{1}{2\pi} \sqrt{K_{ii} K_{jj}} \sin\theta_{ij}$, the gap in Θ = 2Q − P."""
    K = X @ X.T / X.shape[1]
    norm = jnp.sqrt(jnp.diagonal(K))
    return norm[:, None] * norm[None, :] * jnp.sin(_angles(K)) / (2 * math.pi)


def _random_classes(key: PRNGKeyArray, dim, *, sizes, width):
    """Gaussian classes with random means and random spreads, from tight to wide.

    The dimension may be traced: columns from `dim` on are zero, and the others are
    stretched so that x·x'/width is what x·x'/dim was.
    """
    k1, k2, k3 = jax.random.split(key, 3)
    y = np.repeat(np.arange(len(sizes)), sizes)
    means = jax.random.normal(k1, (len(sizes), width))
    std = 10 ** jax.random.uniform(k2, (len(sizes),), minval=-1.0, maxval=0.3)
    X = means[y] + std[y][:, None] * jax.random.normal(k3, (len(y), width))
    used = (jnp.arange(width) < dim) * jnp.sqrt(width / dim)
    return X * used[None, :], jnp.asarray(y)


@partial(jax.jit, static_argnames=("sizes", "width"))
def _judge_sets(keys, dims, *, sizes, width):
    """For each key one random set: what the identity, criterion and mediant say of it."""
    C = len(sizes)

    def one(key_and_dim):
        X, y = _random_classes(*key_and_dim, sizes=sizes, width=width)
        nc1 = partial(metrics.kernel_nc1, y=y, num_classes=C)
        Q, theta = kernels.nngp_and_ntk(X, activation="relu")
        P = sine_part(X)
        q, t, p = nc1(Q), nc1(theta), nc1(P)
        blocks = linalg.block_means(P, y, num_classes=C)
        inside = jnp.mean(jnp.diagonal(blocks))
        outside = (jnp.sum(blocks) - C * inside) / (C * (C - 1))
        size = jnp.max(jnp.abs(theta))
        found = {
            "log10_nngp": jnp.log10(q.ratio),
            "log10_ntk": jnp.log10(t.ratio),
            # NC1(Θ) ≥ NC1(Q) exactly where this is not negative, for any class sizes
            "criterion": p.between * q.ratio - p.within,
            "p_in": inside,
            "p_out": outside,
            "identity_error": jnp.max(jnp.abs(theta - (2 * Q - P))) / size,
            "without_p_error": jnp.max(jnp.abs(theta - 2 * Q)) / size,
        }
        for activation in kernels.ACTIVATIONS:
            Q, theta = kernels.nngp_and_ntk(X, activation=activation)
            ends = jnp.stack([nc1(Q).ratio, nc1(first_order_part(X, activation=activation)).ratio])
            found[f"outside_{activation}"] = _outside(nc1(theta).ratio, ends)
            if activation == "erf":
                found["outside_released"] = _outside(nc1(released_ntk_erf(X)).ratio, ends)
        return found

    return jax.lax.map(one, (keys, dims))


def _outside(value, ends):
    """How far a value lies outside an interval, relative to it; negative inside."""
    return jnp.maximum(jnp.min(ends) - value, value - jnp.max(ends)) / value


def rays(angles: Float[np.ndarray, " a"], *, seed: int) -> Float[np.ndarray, " a"]:
    r"""NC1(Θ) / NC1(Q) of ReLU for two classes on two rays with the same radii.

    Args:
        angles: between the rays, in radians.
        seed: of the radii.

    Returns:
        One ratio an angle.
    """
    radii = np.random.default_rng(seed).lognormal(sigma=0.5, size=32)
    y = jnp.repeat(jnp.arange(2), 32)
    found = []
    for angle in angles:
        rows = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
        X = jnp.asarray(np.concatenate([radii[:, None] * row[None, :] for row in rows]))
        pair = kernels.nngp_and_ntk(X, activation="relu")
        q, t = (metrics.kernel_nc1(K, y, num_classes=2).ratio for K in pair)
        found.append(float(t / q))
    return np.array(found)


def ray_formula(angles: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    r"""What `rays` should be: $(1 - \alpha) / (1 - \beta)$.

    $$\pi\alpha = \sin\theta + (\pi - \theta)\cos\theta, \qquad
      2\pi\beta = \sin\theta + 2(\pi - \theta)\cos\theta.$$
    """
    sin, rest = np.sin(angles), (math.pi - angles) * np.cos(angles)
    return (1 - (sin + rest) / math.pi) / (1 - (sin + 2 * rest) / (2 * math.pi))


def _random_sets(config: Config) -> xr.Dataset:
    dims = np.repeat(config.dims, config.sets)
    both = []
    for sizes in tqdm(((40, 40), (15, 25, 40)), desc="random sets"):
        key = jax.random.fold_in(jax.random.key(config.seeds[0]), len(sizes))
        keys = jax.random.split(key, len(dims))
        both.append(_judge_sets(keys, jnp.asarray(dims), sizes=sizes, width=max(config.dims)))
    angles = np.append(np.linspace(0.02, math.pi, 40), math.pi / 2)
    return xr.Dataset(
        {name: (("classes", "draw"), np.stack([one[name] for one in both])) for name in both[0]}
        | {
            "ray_ratio": ("angle", rays(angles, seed=config.seeds[0])),
            "ray_formula": ("angle", ray_formula(angles)),
        },
        coords={
            "classes": [2, 3],
            "draw": np.arange(len(dims)),
            "dim": ("draw", dims),
            "angle": angles,
        },
    ).sortby("angle")


# --- deep and convolutional networks on digits ----------------------------------------------


def convolutional_kernels(
    images: Float[Array, "n h w 1"], *, activation: str, depth: int
) -> list[dict[str, tuple[Float[Array, "n n"], Float[Array, "n n"]]]]:
    """NNGP and NTK of convolutional networks of depth 1 … `depth`, with two read-outs.

    Layers are 3 × 3 convolutions that keep the size, weight variance 1, no bias; the
    read-out sees all pixels ("conv") or their average ("conv-pool").

    Args:
        images: n one-channel images.
        activation: "erf" or "relu".
        depth: number of convolutions of the deepest.

    Returns:
        For each depth, read-out → (NNGP of the last features, NTK), by neural-tangents.
    """
    from ncutils.compat.neural_tangents import stax

    phi = {"erf": stax.Erf, "relu": stax.Relu}[activation]()
    layer = stax.serial(stax.Conv(1, (3, 3), padding="SAME"), phi)[2]
    heads = {
        "conv": stax.serial(stax.Flatten(), stax.Dense(1))[2],
        "conv-pool": stax.serial(stax.GlobalAvgPool(), stax.Dense(1))[2],
    }
    found, state = [], None
    for _ in range(depth):
        # pooling averages over pairs of pixels, so all of them are carried along
        state = layer(images, None, diagonal_spatial=False) if state is None else layer(state)
        heads_now = {name: head(state) for name, head in heads.items()}
        found.append({name: (out.nngp, out.ntk) for name, out in heads_now.items()})
    return found


@partial(jax.jit, static_argnames=("activation", "depth"))
def _network_nc1(images, y: Int[Array, " n"], *, activation, depth):
    rows = images.reshape(len(images), -1)
    found = convolutional_kernels(images, activation=activation, depth=depth)
    for layer, pairs in enumerate(found, start=1):
        pairs["dense"] = kernels.nngp_and_ntk(rows, activation=activation, depth=layer)
    return jnp.array(
        [
            [
                [metrics.kernel_nc1(K, y, num_classes=10).ratio for K in pairs[name]]
                for name in ARCHITECTURES
            ]
            for pairs in found
        ]
    )


def _networks(config: Config) -> xr.Dataset:
    whole = data.load("mnist5k")
    side, step = config.pixels, 28 // config.pixels
    shape = (len(config.seeds), 2, 2, config.depth, len(ARCHITECTURES), 2)
    found = np.empty(shape)
    for i, seed in enumerate(tqdm(config.seeds, desc="networks")):
        X, y = ordered_digits(whole, config.per_class, seed)
        small = X.reshape(-1, side, step, side, step).mean(axis=(2, 4)).reshape(len(y), -1)
        for j, rows in enumerate((unit_rows(small), small)):
            images = rows.reshape(-1, side, side, 1)
            for k, activation in enumerate(kernels.ACTIVATIONS):
                found[i, j, k] = _network_nc1(images, y, activation=activation, depth=config.depth)
    return xr.Dataset(
        {
            "log10_nc1": (
                ("repeat", "inputs", "activation", "depth", "architecture", "kernel"),
                np.log10(found),
            )
        },
        coords={
            "repeat": list(config.seeds),
            "inputs": list(INPUTS),
            "activation": list(kernels.ACTIVATIONS),
            "depth": np.arange(1, config.depth + 1),
            "architecture": list(ARCHITECTURES),
            "kernel": ["nngp", "ntk"],
        },
    )


_RUN = {"random_sets": _random_sets, "networks": _networks}


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
    smoke=Config.at("random_sets", "smoke"),
    quick=Config.at("random_sets", "quick"),
    paper=Config.at("random_sets", "paper"),
)
def random_sets(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("networks", "smoke"),
    quick=Config.at("networks", "quick"),
    paper=Config.at("networks", "paper"),
)
def networks(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
