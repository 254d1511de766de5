"""Kernels of two-layer networks on Gaussian classes: many draws, one compiled program."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from ncutils import data, kernels, linalg, metrics

KERNELS = ("data", "nngp_erf", "ntk_erf", "ntk_erf_released", "nngp_relu", "ntk_relu")
FORMULAS = ("exact", "as_printed")


def released_ntk_erf(X: Float[Array, "n d"]) -> Float[Array, "n n"]:
    r"""The erf NTK as P1's released code computes it: an inner product for an outer one.

    $$\Theta = Q + K \odot \dot Q, \qquad
      \dot Q_{ij} = \tfrac4\pi \big[\textstyle\sum_k (1 + 2K_{kk})^2 - 4K_{ij}^2\big]^{-1/2}.$$

    Args:
        X: n × d inputs.

    Returns:
        n × n matrix; depends on n through the sum, so it is not a kernel of two points.

    Source: P1's released code, kept here to be compared with `kernels.ntk`.
    """
    K = X @ X.T / X.shape[1]
    spread = 1 + 2 * jnp.diagonal(K)
    slope = 4 / math.pi / jnp.sqrt(spread @ spread - 4 * K * K)
    return kernels.nngp(X, activation="erf") + K * slope


def kernel_matrices(X: Float[Array, "n d"]) -> dict[str, Float[Array, "n n"]]:
    """The kernels of `KERNELS` on one set of inputs; "data" is the linear kernel."""
    nngp_erf, ntk_erf = kernels.nngp_and_ntk(X, activation="erf")
    nngp_relu, ntk_relu = kernels.nngp_and_ntk(X, activation="relu")
    linear = X @ X.T / X.shape[1]
    matrices = (linear, nngp_erf, ntk_erf, released_ntk_erf(X), nngp_relu, ntk_relu)
    return dict(zip(KERNELS, matrices, strict=True))


@partial(jax.jit, static_argnames="num_classes")
def log10_nc1(
    X: Float[Array, "r n d"], y: Int[Array, " n"], *, num_classes: int
) -> Float[Array, "r k f"]:
    r"""$\log_{10} \mathcal{NC}_1$ of each kernel of `KERNELS` by each of `FORMULAS`.

    Args:
        X: r independent sets of n × d inputs with the same labels; taken one after the
            other, so that only the matrices of one set are held.
        y: n labels.
        num_classes: C.

    Returns:
        repeats × kernels × formulas.
    """

    def one(x):
        # the limits are reduced to class blocks tile by tile; the other two are plain products
        matrices = (x @ x.T / x.shape[1], released_ntk_erf(x))
        data_blocks, released = (
            linalg.class_blocks(K, y, num_classes=num_classes) for K in matrices
        )
        erf, relu = (
            kernels.class_blocks(x, y, num_classes=num_classes, activation=activation)
            for activation in ("erf", "relu")
        )
        return jnp.stack(
            [
                jnp.stack([metrics.blocks_nc1(blocks, weighting=f).ratio for f in FORMULAS])
                for blocks in (data_blocks, *erf, released, *relu)
            ]
        )

    return jnp.log10(jax.lax.map(one, X))


def draws(
    seeds: tuple[int, ...],
    *,
    means: tuple[float, ...],
    sizes: tuple[int, ...],
    std: float,
    dim: int,
    width: int,
) -> tuple[Float[Array, "r n width"], Int[Array, " n"]]:
    r"""One set of Gaussian classes a seed, written in `width` ≥ `dim` columns.

    The kernels here see inputs through $x^\top x' / d_0$ alone. Rows padded with zeros and
    stretched by $\sqrt{\text{width} / d_0}$ have the same values of it, so sets of every
    dimension fit one compiled program.
    """
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    draw = partial(data.gaussian_mixture, means, sizes=sizes, std=std, dim=dim)
    X, y = jax.vmap(lambda key: draw(key=key), out_axes=(0, None))(keys)
    return jnp.pad(X, ((0, 0), (0, 0), (0, width - dim))) * math.sqrt(width / dim), y


def sweep(
    sizes: tuple[tuple[int, ...], ...],
    *,
    dims: tuple[int, ...],
    means: tuple[float, ...],
    std: float,
    seeds: tuple[int, ...],
) -> Float[np.ndarray, "s d r k f"]:
    """`log10_nc1` of Gaussian classes over class sizes × input dimensions × repeats."""
    nc1 = np.empty((len(sizes), len(dims), len(seeds), len(KERNELS), len(FORMULAS)))
    grid = [(i, j) for i in range(len(sizes)) for j in range(len(dims))]
    for i, j in tqdm(grid, desc=f"classes at {means}, std {std}"):
        X, y = draws(seeds, means=means, sizes=sizes[i], std=std, dim=dims[j], width=max(dims))
        nc1[i, j] = log10_nc1(X, y, num_classes=len(means))
    return nc1
