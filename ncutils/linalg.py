"""Class averages and the few matrix functions that the rest is written in."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def check_labels(y, *, num_classes: int, length: int | None = None) -> None:
    """Refuse labels that no class average can be taken over.

    Reads values, so it is skipped for traced arrays: call it at the edge,
    outside `jit` and `vmap`.

    Args:
        y: n integer labels.
        num_classes: C; labels are 0 … C-1.
        length: the number of rows that the labels are for, if there is one.

    Raises:
        ValueError: on a wrong length, a label outside 0 … C-1, fewer than two
            classes, or a class without members.
    """
    if num_classes < 2:
        raise ValueError(
            f"collapse compares classes: num_classes is {num_classes}, at least 2 needed"
        )
    if length is not None and y.shape != (length,):
        raise ValueError(f"labels have shape {y.shape}, the data have {length} rows")
    if is_traced(y):
        return
    labels = np.asarray(y)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are integers 0 … C-1, not {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, "
            f"but num_classes={num_classes} allows 0 to {num_classes - 1}"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=num_classes) == 0)
    if empty.size:
        raise ValueError(f"no members in class {', '.join(map(str, empty))}")


def check_finite(name: str, array) -> None:
    """Refuse NaN and infinity in a concrete array.

    Raises:
        ValueError: with the count and the first position.
    """
    if is_traced(array):
        return
    finite = np.isfinite(np.asarray(array))
    if not finite.all():
        bad = np.argwhere(~finite)
        where = tuple(map(int, bad[0]))
        raise ValueError(f"{name} has {len(bad)} entries that are not finite, the first at {where}")


def check_choice(name, value, known) -> None:
    """Refuse a value that is none of `known`.

    Raises:
        ValueError: with the name, the value and the known ones.
    """
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(map(repr, known))}")


def is_traced(array) -> bool:
    """Whether JAX is tracing `array`, so that its values cannot be read."""
    return isinstance(array, jax.core.Tracer)


def one_hot(
    y: Int[Array, " n"] | Int[np.ndarray, " n"], *, num_classes: int, dtype=float
) -> Float[Array, "n c"]:
    """The n×C indicator matrix of the labels.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import linalg
        >>> linalg.one_hot(jnp.array([0, 2]), num_classes=3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return (y[:, None] == jnp.arange(num_classes)[None, :]).astype(dtype)


def signed_one_hot(y: Int[Array, " n"], *, num_classes: int, dtype=float) -> Float[Array, "n c"]:
    """The n×C targets of a regression on classes: 1 at the label, -1 elsewhere.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import linalg
        >>> linalg.signed_one_hot(jnp.array([0, 2]), num_classes=3).tolist()
        [[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    return 2 * one_hot(y, num_classes=num_classes, dtype=dtype) - 1


def class_averager(
    y: Int[Array, " n"] | Int[np.ndarray, " n"], *, num_classes: int, dtype=float
) -> Float[Array, "n c"]:
    r"""The n×C matrix A with $A_{ic} = 1/n_c$ if sample i is of class c, else 0.

    Class means of the rows of H are then $A^\top H$, and block averages of a
    kernel are $A^\top K A$: two products, no loop over classes.
    """
    members = one_hot(y, num_classes=num_classes, dtype=dtype)
    return members / members.sum(axis=0, keepdims=True)


def class_means(
    H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int
) -> Float[Array, "c p"]:
    """Mean of the rows of H over each class.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import linalg
        >>> H, y = jnp.array([[1.0], [3.0], [5.0]]), jnp.array([0, 0, 1])
        >>> linalg.class_means(H, y, num_classes=2).tolist()
        [[2.0], [5.0]]
    """
    return class_averager(y, num_classes=num_classes, dtype=H.dtype).T @ H


def block_means(
    K: Float[Array, "*batch n n"] | Float[np.ndarray, "*batch n n"],
    y: Int[Array, " n"] | Int[np.ndarray, " n"],
    *,
    num_classes: int,
    distinct: bool = False,
) -> Float[Array, "*batch c c"]:
    r"""Mean of a kernel over each pair of classes.

    $$\bar K_{cc'} = \frac{1}{n_c n_{c'}} \sum_{i \in c,\, j \in c'} K_{ij}.$$

    Args:
        K: a kernel of n samples, or any number of them with these axes last.
        y: n labels, in any order.
        num_classes: C.
        distinct: leave out the pairs of a sample with itself, so that
            $\bar K_{cc}$ is the mean over $n_c (n_c - 1)$ pairs; NaN for a class of one.

    Returns:
        The C × C means.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import linalg
        >>> K, y = jnp.array([[3.0, 1.0], [1.0, 3.0]]), jnp.array([0, 0])
        >>> linalg.block_means(K, y, num_classes=1).item()
        2.0
        >>> linalg.block_means(K, y, num_classes=1, distinct=True).item()
        1.0
    """
    average = class_averager(y, num_classes=num_classes, dtype=K.dtype)
    counts = one_hot(y, num_classes=num_classes, dtype=K.dtype).sum(axis=0)

    def one(K):
        means = average.T @ (K @ average)
        if not distinct:
            return means
        apart = (counts * jnp.diagonal(means) - jnp.diagonal(K) @ average) / (counts - 1)
        return jnp.where(jnp.eye(num_classes, dtype=bool), apart[:, None], means)

    return jnp.vectorize(one, signature="(n,n)->(c,c)")(K)


def block_values(
    K: Float[Array, "*batch n n"] | Float[np.ndarray, "*batch n n"],
    y: Int[Array, " n"] | Int[np.ndarray, " n"],
    *,
    num_classes: int,
) -> Float[Array, "*batch 3"]:
    r"""The three values of a block structure: means of the diagonal, within and across classes.

    Every pair of two samples counts once, so that of unequal classes the larger count more.

    Args:
        K: a kernel of n samples, or any number of them with these axes last.
        y: n labels, in any order.
        num_classes: C.

    Returns:
        For each kernel the mean over samples with themselves, over pairs of two samples of a
        class, and over pairs of two classes: $\gamma_d, \gamma_c, \gamma_n$ of P2.

    Raises:
        ValueError: for labels as in `check_labels`, or no two samples of a class.

    Source: P2, Definition 3.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import linalg
        >>> from ncutils.block_ntk import BlockKernel
        >>> K = BlockKernel(diag=3.0, within=2.0, across=1.0).matrix(2, 2)
        >>> linalg.block_values(K, jnp.array([0, 0, 1, 1]), num_classes=2).tolist()
        [3.0, 2.0, 1.0]
    """
    check_labels(y, num_classes=num_classes, length=K.shape[-1])
    if not is_traced(y) and len(y) == num_classes:
        raise ValueError(f"{num_classes} samples in {num_classes} classes: none has two of them")
    sizes = one_hot(y, num_classes=num_classes, dtype=K.dtype).sum(axis=0)
    n, same, between = sizes.sum(), jnp.sum(sizes**2), 1 - jnp.eye(num_classes, dtype=K.dtype)

    def one(K):
        sums = block_means(K, y, num_classes=num_classes) * jnp.outer(sizes, sizes)
        own, within, across = jnp.trace(K), jnp.trace(sums), jnp.sum(sums * between)
        return jnp.stack([own / n, (within - own) / (same - n), across / (n**2 - same)])

    return jnp.vectorize(one, signature="(n,n)->(v)")(K)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassBlocks:
    """All that NC1 needs to know of a kernel.

    Attributes:
        means: C × C, the kernel's mean over each pair of classes (`block_means`).
        diagonal: the mean of its diagonal.
        share: C, the share of each class in the samples.
    """

    means: Float[Array, "c c"]
    diagonal: Float[Array, ""]
    share: Float[Array, " c"]


def class_blocks(K: Float[Array, "n n"], y: Int[Array, " n"], *, num_classes: int) -> ClassBlocks:
    """The class blocks of a kernel given in full."""
    return ClassBlocks(
        means=block_means(K, y, num_classes=num_classes),
        diagonal=jnp.mean(jnp.diagonal(K)),
        share=jnp.mean(one_hot(y, num_classes=num_classes, dtype=K.dtype), axis=0),
    )


def centring(n: int) -> Float[Array, "n n"]:
    r"""The projector $I - \frac1n \mathbf 1 \mathbf 1^\top$."""
    return jnp.eye(n) - 1.0 / n


def simplex_gram(num_classes: int) -> Float[Array, "c c"]:
    r"""Gram matrix of the simplex equiangular tight frame with unit vectors.

    $$\tfrac{C}{C-1} \big(I - \tfrac1C \mathbf 1 \mathbf 1^\top\big).$$

    Example:
        >>> from ncutils import linalg
        >>> print(linalg.simplex_gram(3))
        [[ 1.  -0.5 -0.5]
         [-0.5  1.  -0.5]
         [-0.5 -0.5  1. ]]
    """
    return num_classes / (num_classes - 1) * centring(num_classes)


def psd_sqrt(M: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric square root of a positive semi-definite matrix.

    Eigenvalues below zero, which rounding leaves behind, count as zero.
    """
    values, vectors = jnp.linalg.eigh(0.5 * (M + M.T), symmetrize_input=False)
    return (vectors * jnp.sqrt(jnp.clip(values, min=0.0))[None, :]) @ vectors.T
