r"""P1, Section 5: does the tangent kernel show more collapse than the NNGP kernel?

Figs 2 and 3 on D1, the same kernels on other sets, what closed forms predict for all of
them, and when the order of the two kernels turns over: on random classes, on two rays, and
in deep and convolutional networks.
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
from ncutils.experiments.kothapalli2025._digits import INPUTS, both_inputs, ordered_digits
from ncutils.experiments.kothapalli2025._gaussians import (
    KERNELS,
    kernel_matrices,
    released_ntk_erf,
    sweep,
)

#: name → (means of the classes, standard deviation)
SETS = {
    "D1": ((-2.0, 2.0), 0.5),
    "std 2": ((-2.0, 2.0), 2.0),
    "four classes": ((-6.0, -2.0, 2.0, 6.0), 0.5),
}
ARCHITECTURES = ("dense", "conv", "conv-pool")


# --- Gaussian classes: Figs 2 and 3, and their limits ---------------------------------------


def _log10_ratio(diagonal, blocks) -> float:
    """log₁₀ NC1 of balanced classes from the kernel's diagonal and its class averages."""
    C = len(blocks)
    given = linalg.ClassBlocks(
        means=jnp.asarray(blocks),
        diagonal=jnp.asarray(np.mean(diagonal)),
        share=jnp.full(C, 1 / C),
    )
    return math.log10(metrics.blocks_nc1(given).ratio)


def infinite_dimension(means: tuple[float, ...], std: float) -> dict[str, float]:
    r"""$\log_{10} \mathcal{NC}_1$ of Gaussian classes for $d_0 \to \infty$ and many samples.

    In the limit $x^\top x' / d_0$ is $a_c a_{c'}$ for two samples and $a_c^2 + s^2$ for one
    with itself. The vectors $\sqrt d\,(a_c e_0 + s e_i)$ have just these products, so two
    of them for each class hold everything that the kernels see.

    Args:
        means: $a_c$, class means are $a_c \mathbf 1$.
        std: s.

    Returns:
        Kernel name → value, for `KERNELS` but the released one, which has no limit.
    """
    C = len(means)
    X = np.zeros((2 * C, 2 * C + 1))
    X[:, 0] = np.tile(means, 2)
    X[np.arange(2 * C), np.arange(1, 2 * C + 1)] = std
    matrices = kernel_matrices(jnp.asarray(X * math.sqrt(X.shape[1])))
    return {
        name: _log10_ratio(np.diag(K), np.asarray(K)[:C, C:])
        for name, K in matrices.items()
        if name != "ntk_erf_released"
    }


def one_dimension(means: tuple[float, ...], std: float, *, nodes: int = 80) -> dict[str, float]:
    r"""$\log_{10} \mathcal{NC}_1$ of Gaussian classes on the line, for many samples.

    The averages of a kernel over two independent Gaussian samples are taken by the
    Gauss–Hermite rule: $\mathbb E f(x) \approx \sum_k w_k f(a_c + s t_k)$.

    Args, Returns: as for `infinite_dimension`; nodes: points of the rule for a class.
    """
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    X = np.concatenate([a + std * t for a in means])[:, None]
    average = np.kron(np.eye(len(means)), w[:, None])
    matrices = kernel_matrices(jnp.asarray(X))
    return {
        name: _log10_ratio(average.sum(axis=1) @ np.diag(K) / len(means), average.T @ K @ average)
        for name, K in matrices.items()
        if name != "ntk_erf_released"
    }


def closed_forms(a: float, s: float) -> dict[str, float]:
    r"""`infinite_dimension` of two classes by formula.

    For means $\mp a \mathbf 1$ and covariance $s^2 I$, with $S = a^2 + s^2$ and
    $\cos\theta = a^2 / S$,

    $$\mathcal{NC}_1(Q_{\mathrm{ReLU}}) =
        \tfrac{2(\pi - \sin\theta - (\pi - \theta)\cos\theta)}{\pi\cos\theta}, \quad
      \mathcal{NC}_1(\Theta_{\mathrm{ReLU}}) =
        \mathcal{NC}_1(Q_{\mathrm{ReLU}}) + \tfrac{\tan\theta}{\pi},$$
    $$\mathcal{NC}_1(Q_{\mathrm{erf}}) = \tfrac{q_0 - q_1}{q_1}, \quad
      \mathcal{NC}_1(\Theta_{\mathrm{erf}}) = \tfrac{q_0 + k_0 - q_1 - k_1}{q_1 + k_1}.$$

    Args:
        a, s: distance of a mean from the origin and standard deviation, per dimension.

    Returns:
        Kernel name → value.
    """
    S = a * a + s * s
    theta = math.acos(a * a / S)
    sin, cos = math.sin(theta), math.cos(theta)
    relu = 2 * (math.pi - sin - (math.pi - theta) * cos) / (math.pi * cos)
    q0, q1 = math.asin(2 * S / (1 + 2 * S)), math.asin(2 * a * a / (1 + 2 * S))
    k0 = 2 * S / math.sqrt(1 + 4 * S)
    k1 = 2 * a * a / math.sqrt((1 + 2 * S) ** 2 - 4 * a**4)
    values = {
        "data": s * s / (a * a),
        "nngp_erf": (q0 - q1) / q1,
        "ntk_erf": (q0 + k0 - q1 - k1) / (q1 + k1),
        "nngp_relu": relu,
        "ntk_relu": relu + math.tan(theta) / math.pi,
    }
    return {name: math.log10(value) for name, value in values.items()}


@dataclass(frozen=True)
class Gaussians:
    """Gaussian classes of growing number and dimension.

    Attributes:
        seeds: one for each repeat.
        totals: N, the sizes of D1; the other sets have the largest.
        dims: d₀, the input dimensions.
    """

    seeds: tuple[int, ...] = tuple(range(10))
    totals: tuple[int, ...] = (128, 256, 512, 1024)
    dims: tuple[int, ...] = (1, 2, 8, 32, 128)


@case(
    smoke=Gaussians(seeds=(0, 1, 2), totals=(64, 128), dims=(1, 8)),
    quick=Gaussians(),  # the paper's own sizes take less than a minute
    paper=Gaussians(),
)
def gaussians(config: Gaussians) -> xr.Dataset:
    """log10 NC1 of each kernel on each of `SETS`, and what theory says of them."""

    def log10_nc1_of(name, *totals):
        means, std = SETS[name]
        sizes = tuple((N // len(means),) * len(means) for N in totals)
        return sweep(sizes, dims=config.dims, means=means, std=std, seeds=config.seeds)[..., 0]

    d1 = log10_nc1_of("D1", *config.totals)
    others = [log10_nc1_of(name, config.totals[-1])[0] for name in list(SETS)[1:]]
    theory = [
        [infinite_dimension(*setting) for setting in SETS.values()],
        [one_dimension(*setting) for setting in SETS.values()],
        [closed_forms(2.0, 0.5), closed_forms(2.0, 2.0), {}],
    ]
    table = [[[row.get(name, np.nan) for name in KERNELS] for row in rows] for rows in theory]
    return xr.Dataset(
        {
            "d1": (("N", "d0", "repeat", "kernel"), d1),
            "sets": (("set", "d0", "repeat", "kernel"), np.stack([d1[-1], *others])),
            "theory": (("form", "set", "kernel"), np.array(table)),
        },
        coords={
            "N": list(config.totals),
            "d0": list(config.dims),
            "repeat": list(config.seeds),
            "set": list(SETS),
            "kernel": list(KERNELS),
            "form": ["infinite dimension", "one dimension", "closed form"],
        },
    )


# --- when the order turns over: random classes, two rays --------------------------------------


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
        row = {
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
            row[f"outside_{activation}"] = _outside(nc1(theta).ratio, ends)
            if activation == "erf":
                row["outside_released"] = _outside(nc1(released_ntk_erf(X)).ratio, ends)
        return row

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
    ratios = []
    for angle in angles:
        rows = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
        X = jnp.asarray(np.concatenate([radii[:, None] * row[None, :] for row in rows]))
        pair = kernels.nngp_and_ntk(X, activation="relu")
        q, t = (metrics.kernel_nc1(K, y, num_classes=2).ratio for K in pair)
        ratios.append(float(t / q))
    return np.array(ratios)


def ray_formula(angles: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    r"""What `rays` should be: $(1 - \alpha) / (1 - \beta)$.

    $$\pi\alpha = \sin\theta + (\pi - \theta)\cos\theta, \qquad
      2\pi\beta = \sin\theta + 2(\pi - \theta)\cos\theta.$$
    """
    sin, rest = np.sin(angles), (math.pi - angles) * np.cos(angles)
    return (1 - (sin + rest) / math.pi) / (1 - (sin + 2 * rest) / (2 * math.pi))


@dataclass(frozen=True)
class RandomSets:
    """Gaussian classes with random means and spreads.

    Attributes:
        sets: how many of each dimension.
        seed: of all of them.
        dims: input dimensions.
        sizes: class sizes, of two classes and of three.
    """

    sets: int
    seed: int = 0
    dims: tuple[int, ...] = (2, 3, 8, 32)
    sizes: tuple[tuple[int, ...], ...] = ((40, 40), (15, 25, 40))


@case(smoke=RandomSets(25), quick=RandomSets(100), paper=RandomSets(1000))
def random_sets(config: RandomSets) -> xr.Dataset:
    """What identity, criterion and mediant say of each set; two classes on two rays."""
    dims = np.repeat(config.dims, config.sets)
    both = []
    for sizes in tqdm(config.sizes, desc="random sets"):
        key = jax.random.fold_in(jax.random.key(config.seed), len(sizes))
        keys = jax.random.split(key, len(dims))
        both.append(_judge_sets(keys, jnp.asarray(dims), sizes=sizes, width=max(config.dims)))
    angles = np.append(np.linspace(0.02, math.pi, 40), math.pi / 2)
    return xr.Dataset(
        {name: (("classes", "draw"), np.stack([one[name] for one in both])) for name in both[0]}
        | {
            "ray_ratio": ("angle", rays(angles, seed=config.seed)),
            "ray_formula": ("angle", ray_formula(angles)),
        },
        coords={
            "classes": [len(sizes) for sizes in config.sizes],
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
    by_depth, state = [], None
    for _ in range(depth):
        # pooling averages over pairs of pixels, so all of them are carried along
        state = layer(images, None, diagonal_spatial=False) if state is None else layer(state)
        heads_now = {name: head(state) for name, head in heads.items()}
        by_depth.append({name: (out.nngp, out.ntk) for name, out in heads_now.items()})
    return by_depth


@partial(jax.jit, static_argnames=("activation", "depth"))
def _network_nc1(images, y: Int[Array, " n"], *, activation, depth):
    rows = images.reshape(len(images), -1)
    by_depth = convolutional_kernels(images, activation=activation, depth=depth)
    for layer, pairs in enumerate(by_depth, start=1):
        pairs["dense"] = kernels.nngp_and_ntk(rows, activation=activation, depth=layer)
    return jnp.array(
        [
            [
                [metrics.kernel_nc1(K, y, num_classes=10).ratio for K in pairs[name]]
                for name in ARCHITECTURES
            ]
            for pairs in by_depth
        ]
    )


@dataclass(frozen=True)
class Networks:
    """Deep and convolutional networks of infinite width on digits.

    Attributes:
        seeds: one for each repeat.
        per_class: digits of each class.
        depth: hidden layers of the deepest.
        pixels: side of an image.
    """

    seeds: tuple[int, ...]
    per_class: int
    depth: int
    pixels: int


@case(
    smoke=Networks(seeds=(0,), per_class=2, depth=1, pixels=7),
    quick=Networks(seeds=tuple(range(4)), per_class=10, depth=4, pixels=7),
    paper=Networks(seeds=tuple(range(10)), per_class=20, depth=6, pixels=14),
)
def networks(config: Networks) -> xr.Dataset:
    """log10 NC1 of NNGP kernel and NTK for each of `ARCHITECTURES` and each depth."""
    whole = data.load("mnist5k")
    side = config.pixels
    shape = (len(config.seeds), 2, 2, config.depth, len(ARCHITECTURES), 2)
    nc1 = np.empty(shape)
    for i, seed in enumerate(tqdm(config.seeds, desc="networks")):
        X, y = ordered_digits(whole, config.per_class, seed)
        images = data.resize(np.asarray(X).reshape(-1, 28, 28, 1), side)
        small = jnp.asarray(images.reshape(len(y), -1))
        for j, rows in enumerate(both_inputs(small).values()):
            images = rows.reshape(-1, side, side, 1)
            for k, activation in enumerate(kernels.ACTIVATIONS):
                nc1[i, j, k] = _network_nc1(images, y, activation=activation, depth=config.depth)
    return xr.Dataset(
        {
            "log10_nc1": (
                ("repeat", "inputs", "activation", "depth", "architecture", "kernel"),
                np.log10(nc1),
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
