"""Getting images and labels ready: pooling, resizing, standard columns, unit rows, a split.

What works on images n × h × w × c stays in NumPy, as a :class:`Dataset` holds them; what works
on rows n × d is compiled by JAX.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.data.sets import Dataset, balanced_subset

__all__ = ["pool", "resize", "sorted_by_class", "split", "standardise", "unit_rows"]


def pool(x: Float[np.ndarray, "n h w c"], cut: int) -> Float[np.ndarray, "n _h _w c"]:
    """Means over squares of cut × cut pixels.

    Args:
        x: n images.
        cut: pixels along a side of a square; 1 changes nothing.

    Returns:
        n × h/cut × w/cut × c, of the dtype of x.

    Raises:
        ValueError: if the squares do not fill an image.
    """
    n, h, w, c = x.shape
    if cut < 1 or h % cut or w % cut:
        raise ValueError(f"images of {h} × {w} pixels cannot be cut into squares of {cut} × {cut}")
    return x.reshape(n, h // cut, cut, w // cut, cut, c).mean(axis=(2, 4))


def resize(x: Float[np.ndarray, "n old old c"], side: int) -> Float[np.ndarray, "n side side c"]:
    """Square images of `side` pixels: means over squares to shrink, bilinear to grow.

    Args:
        x: n square images.
        side: pixels along a side of the new ones.

    Returns:
        n × side × side × c, of the dtype of x.

    Raises:
        ValueError: if they shrink by no whole factor.
    """
    old = x.shape[1]
    if old % side == 0:
        return pool(x, old // side)
    if old > side:
        raise ValueError(f"images of {old} × {old} pixels cannot be averaged to {side} × {side}")
    return np.asarray(jax.image.resize(x, (len(x), side, side, x.shape[3]), "bilinear"))


@jax.jit
def standardise(
    X: Float[Array, "n d"], *others: Float[Array, "_ d"]
) -> tuple[Float[Array, "_ d"], ...]:
    """Coordinates shifted and scaled to mean 0 and standard deviation 1 over the rows of X.

    Coordinates that are constant over X become zero. Other sets, such as test inputs, are
    moved by the same numbers.

    Args:
        X: n rows; the deviation divides by n - 1.
        others: sets of rows of the same length.

    Returns:
        A tuple: X, and then the others.

    Source: P3 Appendix D. The released code scales test inputs by their own mean and
        deviation over 100 samples.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import data
        >>> (Z,) = data.standardise(jnp.array([[3.0, 7.0], [5.0, 7.0], [7.0, 7.0]]))
        >>> (Z.round(6) + 0.0).tolist()
        [[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    """
    mean, std = X.mean(axis=0, keepdims=True), X.std(axis=0, ddof=1, keepdims=True)
    usable = std > 1e-12 * jnp.max(jnp.abs(X))
    scale = jnp.where(usable, 1 / jnp.where(usable, std, 1.0), 0.0)
    return tuple((Z - mean) * scale for Z in (X, *others))


@jax.jit
def unit_rows(X: Float[Array, "n d"], norm: float | Float[Array, ""] = 1.0) -> Float[Array, "n d"]:
    r"""Rows stretched to one Euclidean norm; a row of zeros stays as it is.

    With norm $\sqrt d$ a first layer sees $K_{ii} = x_i^\top x_i / d = 1$ for each row.

    Args:
        X: n rows.
        norm: that of each row afterwards.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import data
        >>> data.unit_rows(jnp.array([[3.0, 4.0], [0.0, 0.0]]), norm=10.0).round(6).tolist()
        [[6.0, 8.0], [0.0, 0.0]]
    """
    length = jnp.linalg.norm(X, axis=1, keepdims=True)
    return X / jnp.where(length > 0, length, 1.0) * norm


def sorted_by_class(dataset: Dataset) -> Dataset:
    """The same samples with those of class 0 first; within a class the order stays."""
    order = np.argsort(dataset.y, kind="stable")
    return replace(dataset, x=dataset.x[order], y=dataset.y[order])


def split(
    dataset: Dataset, train_per_class: int, test_per_class: int, *, key: PRNGKeyArray
) -> tuple[Dataset, Dataset]:
    """Training and test samples from a set that has no test part; no sample is in both.

    Args:
        dataset: what to draw from, without replacement.
        train_per_class, test_per_class: samples of each class.
        key: random key.

    Returns:
        Two data sets, balanced and sorted by class.

    Raises:
        ValueError: as `balanced_subset`, for both numbers together.
    """
    both = train_per_class + test_per_class
    drawn = balanced_subset(dataset, both, key=key)
    first = np.arange(len(drawn.y)) % both < train_per_class
    return tuple(replace(drawn, x=drawn.x[rows], y=drawn.y[rows]) for rows in (first, ~first))
