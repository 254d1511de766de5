"""Neural collapse from a kernel matrix alone: NC1 of the features behind it, label alignment."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ncutils import linalg


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KernelNC1:
    """The two traces of NC1 and their ratio, as read off a kernel matrix."""

    within: Float[Array, ""]
    between: Float[Array, ""]
    ratio: Float[Array, ""]


def _check_kernel(K):
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"a kernel matrix is square, this one has shape {K.shape}")
    linalg.check_finite("K", K)
    if not linalg.is_traced(K):
        gap, size = float(jnp.max(jnp.abs(K - K.T))), float(jnp.max(jnp.abs(K)))
        # products of n terms leave asymmetries of a few units in the last place
        if gap > 1e3 * float(jnp.finfo(K.dtype).eps) * size:
            raise ValueError(
                "a kernel matrix is symmetric: "
                f"here |K - Kᵀ| reaches {gap:.3g}, with entries to {size:.3g}"
            )


def kernel_nc1(
    K: Float[Array, "n n"], y: Int[Array, " n"], *, num_classes: int, weighting: str = "exact"
) -> KernelNC1:
    r"""NC1 of the features behind a kernel, from the kernel alone.

    If $K_{ij} = h_i^\top h_j$, then with block means
    $\bar K_{cc'}$, row means $\bar K_{cG} = \sum_{c'} \frac{n_{c'}}{N} \bar K_{cc'}$ and
    $\bar K_{GG} = \sum_c \frac{n_c}{N} \bar K_{cG}$,

    $$\mathrm{Tr}\,\Sigma_W = \tfrac1N \mathrm{Tr} K - \sum_c \tfrac{n_c}{N} \bar K_{cc},
      \qquad
      \mathrm{Tr}\,\Sigma_B = \tfrac1C \sum_c (\bar K_{cc} - 2 \bar K_{cG} + \bar K_{GG}).$$

    ``weighting="as_printed"`` weights all classes alike,
    $\mathrm{Tr}\,\Sigma_W = \frac1N \mathrm{Tr} K - \frac1C \sum_c \bar K_{cc}$ and
    $\mathrm{Tr}\,\Sigma_B = \frac1C \sum_c \bar K_{cc} - \bar K_{GG}$, as P1's released
    code does. The two agree for classes of equal size and for no others; the second
    can make a variance negative.

    Args:
        K: n × n symmetric kernel matrix.
        y: n labels, 0 … C-1, in any order.
        num_classes: C.
        weighting: "exact" or "as_printed".

    Returns:
        `KernelNC1` with both traces and their ratio.

    Raises:
        ValueError: if K is not square, not symmetric or not finite, for labels as in
            `nc1`, or for an unknown weighting.

    Source: P1 Theorem 4.1; "as_printed" is the formula of its released code.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> H = jnp.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
        >>> nc1 = metrics.kernel_nc1(H @ H.T, jnp.array([0, 0, 1, 1]), num_classes=2)
        >>> print(f"{nc1.within:.3f} {nc1.between:.3f} {nc1.ratio:.3f}")
        0.010 1.000 0.010
    """
    linalg.check_choice("weighting", weighting, ("exact", "as_printed"))
    linalg.check_labels(y, num_classes=num_classes, length=K.shape[0])
    _check_kernel(K)
    return _kernel_nc1(K, y, num_classes=num_classes, weighting=weighting)


@functools.partial(jax.jit, static_argnames=("num_classes", "weighting"))
def _kernel_nc1(K, y, *, num_classes, weighting):
    blocks = linalg.class_blocks(K, y, num_classes=num_classes)
    return blocks_nc1(blocks, weighting=weighting)


def blocks_nc1(blocks: linalg.ClassBlocks, *, weighting: str = "exact") -> KernelNC1:
    r"""`kernel_nc1` of a kernel of which only the class blocks are known.

    Args:
        blocks: means over pairs of classes, mean of the diagonal and class shares, as
            `kernels.class_blocks` gives them.
        weighting: "exact" or "as_printed".

    Returns, Source: as for `kernel_nc1`.

    Raises:
        ValueError: for an unknown weighting.
    """
    linalg.check_choice("weighting", weighting, ("exact", "as_printed"))
    own, rows = jnp.diagonal(blocks.means), blocks.means @ blocks.share
    total = blocks.share @ rows
    if weighting == "exact":
        within = blocks.diagonal - blocks.share @ own
        between = jnp.mean(own - 2 * rows) + total
    else:
        within = blocks.diagonal - jnp.mean(own)
        between = jnp.mean(own) - total
    return KernelNC1(within=within, between=between, ratio=within / between)


def label_alignment(K: Float[Array, "n n"], y: Int[Array, " n"]) -> Float[Array, ""]:
    r"""Cosine between a kernel and the ideal one that only knows the labels.

    $$\frac{\langle K, Y Y^\top \rangle}{\lVert K \rVert_F \lVert Y Y^\top \rVert_F},
      \qquad (Y Y^\top)_{ij} = 1 \text{ if } y_i = y_j \text{ else } 0.$$

    Args:
        K: n × n symmetric kernel matrix.
        y: n labels.

    Returns:
        A scalar between -1 and 1; 1 exactly for a positive multiple of $Y Y^\top$.

    Raises:
        ValueError: if K is not square, symmetric and finite, or lengths differ.

    Source: P2 Section 6 ("kernel alignment"; its code reports it from block values).

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import metrics
        >>> y = jnp.array([0, 0, 1, 1])
        >>> print(f"{metrics.label_alignment(jnp.eye(4), y):.3f}")
        0.707
    """
    if y.shape != (K.shape[0],):
        raise ValueError(f"labels have shape {y.shape}, the kernel {K.shape}")
    _check_kernel(K)
    same = (y[:, None] == y[None, :]).astype(K.dtype)
    return jnp.sum(K * same) / (jnp.linalg.norm(K) * jnp.linalg.norm(same))
