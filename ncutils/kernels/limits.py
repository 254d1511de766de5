r"""Kernels of infinitely wide networks: NNGP and NTK.

A fully connected network with hidden weight variance $\sigma_w^2$ and bias variance
$\sigma_b^2$ has, in the limit of infinite width, the pre-activation kernels

$$K^{(1)} = \sigma_b^2 + \tfrac{\sigma_w^2}{d} X X^\top, \qquad
  K^{(l+1)} = \sigma_b^2 + \sigma_w^2 Q^{(l)}, \qquad
  Q^{(l)} = \mathbb E[\phi(u)\phi(v)], \quad (u, v) \sim \mathcal N(0, K^{(l)}),$$

and the tangent kernels $\Theta^{(1)} = K^{(1)}$,
$\Theta^{(l+1)} = K^{(l+1)} + \sigma_w^2\, \Theta^{(l)} \odot \dot Q^{(l)}$ with
$\dot Q = \mathbb E[\phi'(u)\phi'(v)]$. Kernels act on rows: X is n × d.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils import linalg
from ncutils.kernels import duals

ACTIVATIONS = duals.ACTIVATIONS
# Rows of a kernel tile of `class_blocks`: 0.5 MB in float64, which stays in a core's cache.
_TILE = 256


def check_inputs(X, Z) -> None:
    """Refuse rows of inputs that are empty, not finite, or of two widths."""
    for name, array in (("X", X), ("Z", Z)):
        if array is None:
            continue
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name} is n × d with n, d ≥ 1, not of shape {array.shape}")
        linalg.check_finite(name, array)
    if Z is not None and X.shape[1] != Z.shape[1]:
        raise ValueError(f"X has {X.shape[1]} columns and Z has {Z.shape[1]}")


def _check_network(activation, depth, weight_var, bias_var):
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}"
        )
    if depth < 1:
        raise ValueError(f"depth counts hidden layers and is at least 1, not {depth}")
    if linalg.is_traced(weight_var) or linalg.is_traced(bias_var):
        return
    if not (weight_var > 0 and bias_var >= 0):
        raise ValueError(f"need weight_var > 0 and bias_var ≥ 0, not {weight_var} and {bias_var}")


def _through(k, rows, columns, same, activation, weight_var, bias_var):
    """Q and Θ after all layers from K of the first and the diagonals of rows and columns."""
    theta = k
    for left, right in zip(rows, columns, strict=True):
        q, dq = duals.DUAL[activation](k, left[0][:, None], right[0][None, :])
        if same is not None:
            q = jnp.where(same, right[1][None, :], q)
            dq = jnp.where(same, right[2][None, :], dq)
        k = bias_var + weight_var * q
        theta = k + weight_var * theta * dq
    return q, theta


def _diagonals(X, activation, depth, weight_var, bias_var):
    k = bias_var + weight_var / X.shape[1] * jnp.sum(X * X, axis=1)
    return duals.diagonals(k, activation, depth, weight_var, bias_var)


@functools.partial(jax.jit, static_argnames=("activation", "depth", "want"))
def _limit(X, Z, activation, depth, weight_var, bias_var, want):
    """Q of hidden layer `depth`, or Θ of the network with `depth` hidden layers."""
    same = jnp.eye(X.shape[0], dtype=bool) if Z is None else None
    rows, columns = (
        _diagonals(each, activation, depth, weight_var, bias_var)
        for each in (X, X if Z is None else Z)
    )
    k = bias_var + weight_var / X.shape[1] * (X @ (X if Z is None else Z).T)
    q, theta = _through(k, rows, columns, same, activation, weight_var, bias_var)
    return q if want == "nngp" else theta


def nngp(
    X: Float[Array, "n d"],
    Z: Float[Array, "m d"] | None = None,
    *,
    activation: str,
    depth: int = 1,
    weight_var: float = 1.0,
    bias_var: float = 0.0,
) -> Float[Array, "n m"]:
    r"""NNGP kernel $Q^{(\mathrm{depth})}$ of the activations of a hidden layer.

    One hidden layer, $\cos\theta = K_{ij} / \sqrt{K_{ii} K_{jj}}$:

    $$Q_{\mathrm{ReLU}} = \tfrac{\sqrt{K_{ii} K_{jj}}}{2\pi}
        \big(\sin\theta + (\pi - \theta)\cos\theta\big), \qquad
      Q_{\mathrm{erf}} = \tfrac2\pi \arcsin
        \tfrac{2 K_{ij}}{\sqrt{(1 + 2 K_{ii})(1 + 2 K_{jj})}}.$$

    Args:
        X: n × d inputs, one row a sample.
        Z: m × d inputs; X itself if left out, and then the diagonal is exact.
        activation: "erf" or "relu".
        depth: which hidden layer, counted from 1.
        weight_var: $\sigma_w^2$, the same in every layer.
        bias_var: $\sigma_b^2$, the same in every layer.

    Returns:
        n × m kernel matrix of post-activations.

    Raises:
        ValueError: on an unknown activation, depth < 1, variances out of range,
            inputs that are not finite or do not match.

    Source: P1 Section 3; the integrals are Cho and Saul (2009) and Williams (1996).

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import kernels
        >>> X = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(kernels.nngp(X, activation="relu").round(4))
        [[0.25   0.0796]
         [0.0796 0.25  ]]
    """
    check_inputs(X, Z)
    _check_network(activation, depth, weight_var, bias_var)
    return _limit(X, Z, activation, depth, weight_var, bias_var, "nngp")


def ntk(
    X: Float[Array, "n d"],
    Z: Float[Array, "m d"] | None = None,
    *,
    activation: str,
    depth: int = 1,
    weight_var: float = 1.0,
    bias_var: float = 0.0,
) -> Float[Array, "n m"]:
    r"""NTK of a network with `depth` hidden layers and a linear read-out.

    $$\Theta^{(l+1)} = K^{(l+1)} + \sigma_w^2\, \Theta^{(l)} \odot \dot Q^{(l)}, \qquad
      \dot Q_{\mathrm{ReLU}} = \tfrac{\pi - \theta}{2\pi}, \qquad
      \dot Q_{\mathrm{erf}} = \tfrac4\pi
        \big[(1 + 2K_{ii})(1 + 2K_{jj}) - 4K_{ij}^2\big]^{-1/2}.$$

    Args, Raises: as for `nngp`, with `depth` hidden layers in all.

    Returns:
        n × m kernel matrix.

    Source: P1 Section 3. Differs from the released code, whose erf derivative has an
        inner product of the diagonals where the outer product stands.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import kernels
        >>> X = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(kernels.ntk(X, activation="relu").round(4))
        [[0.5    0.0796]
         [0.0796 0.5   ]]
    """
    check_inputs(X, Z)
    _check_network(activation, depth, weight_var, bias_var)
    return _limit(X, Z, activation, depth, weight_var, bias_var, "ntk")


def nngp_and_ntk(
    X: Float[Array, "n d"],
    *,
    activation: str,
    depth: int = 1,
    weight_var: float = 1.0,
    bias_var: float = 0.0,
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    r"""`nngp` and `ntk` of one set of inputs.

    Args, Returns, Raises, Source: as for the two functions.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import kernels
        >>> Q, theta = kernels.nngp_and_ntk(jnp.array([[2.0], [-1.0]]), activation="relu")
        >>> print(Q.round(4), theta.round(4), sep="\n")
        [[2.  0. ]
         [0.  0.5]]
        [[4. 0.]
         [0. 1.]]
    """
    check_inputs(X, None)
    _check_network(activation, depth, weight_var, bias_var)
    q = _limit(X, None, activation, depth, weight_var, bias_var, "nngp")
    # Behind the barrier the compiler sees another X. Sharing work between the two kernels
    # would write a dozen matrices to memory, which takes three times as long as computing
    # the entries twice.
    same = jax.lax.optimization_barrier(X)
    return q, _limit(same, None, activation, depth, weight_var, bias_var, "ntk")


@functools.partial(jax.jit, static_argnames=("num_classes", "activation", "depth"))
def _class_blocks(X, y, weight_var, bias_var, *, num_classes, activation, depth):
    tile = min(_TILE, X.shape[0])
    count = -(-X.shape[0] // tile)
    padding = ((0, count * tile - X.shape[0]), (0, 0))  # the last tile is filled up
    average = linalg.class_averager(y, num_classes=num_classes, dtype=X.dtype)
    rows, weights = jnp.pad(X, padding), jnp.pad(average, padding)  # … with rows of weight zero
    layers = _diagonals(rows, activation, depth, weight_var, bias_var)
    eye = jnp.eye(tile, dtype=bool)

    def cut(start):
        return jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, start, tile), (rows, weights, layers)
        )

    def add(total, pair):
        left, right = (cut(at * tile) for at in pair)
        k = bias_var + weight_var / X.shape[1] * (left[0] @ right[0].T)
        on_diagonal = pair[0] == pair[1]
        found = _through(k, left[2], right[2], eye & on_diagonal, activation, weight_var, bias_var)
        share = jnp.where(on_diagonal, 0.5, 1.0)  # the transposed tile is added at the end
        return total + share * jnp.stack([left[1].T @ (K @ right[1]) for K in found]), None

    pairs = jnp.stack([jnp.asarray(index) for index in np.triu_indices(count)], axis=1)
    half, _ = jax.lax.scan(add, jnp.zeros((2, num_classes, num_classes), X.dtype), pairs)
    means = half + jnp.swapaxes(half, 1, 2)
    n = X.shape[0]
    theta = layers[0][0]
    for _, q, dq in layers:
        theta = bias_var + weight_var * (q + theta * dq)
    share = jnp.mean((average > 0).astype(X.dtype), axis=0)
    return tuple(
        linalg.ClassBlocks(means=means[i], diagonal=jnp.mean(own[:n]), share=share)
        for i, own in enumerate((layers[-1][1], theta))
    )


def class_blocks(
    X: Float[Array, "n d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    activation: str,
    depth: int = 1,
    weight_var: float = 1.0,
    bias_var: float = 0.0,
) -> tuple[linalg.ClassBlocks, linalg.ClassBlocks]:
    r"""Class blocks of `nngp` and `ntk`, without ever holding a kernel.

    The kernels are symmetric, so each pair of tiles of the inputs is visited once; a tile
    is reduced to class sums while it is in the cache. Memory is O(n d), and the time is
    that of evaluating $n^2/2$ entries (`benchmarks/bench_kernels.py`).

    Args:
        X, activation, depth, weight_var, bias_var: as for `nngp`.
        y: n labels, 0 … C-1, in any order.
        num_classes: C.

    Returns:
        Blocks of the NNGP kernel and of the NTK, for `metrics.blocks_nc1`.

    Raises:
        ValueError: as for `nngp`; for a label out of range, an empty class, or labels
            and inputs of different length.
    """
    check_inputs(X, None)
    _check_network(activation, depth, weight_var, bias_var)
    linalg.check_labels(y, num_classes=num_classes, length=X.shape[0])
    return _class_blocks(
        X, y, weight_var, bias_var, num_classes=num_classes, activation=activation, depth=depth
    )
