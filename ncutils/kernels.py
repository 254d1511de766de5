r"""Closed-form kernels: infinite-width NNGP and NTK, Laplace and Gaussian.

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
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ncutils import linalg, special

ACTIVATIONS = ("erf", "relu")


@jax.custom_jvp
def _arc_cosine(c):
    """(sin θ + (π - θ) cos θ) / π at c = cos θ; its derivative is (π - θ) / π.

    Told to JAX because differentiating through arccos gives NaN at θ = 0 and π,
    where the derivative is finite.
    """
    return (jnp.sqrt((1 - c) * (1 + c)) + (math.pi - special.arccos(c)) * c) / math.pi


@_arc_cosine.defjvp
def _arc_cosine_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    return _arc_cosine(c), dc * (math.pi - special.arccos(c)) / math.pi


def _dual_relu(k, left, right):
    """Q and Q̇ of ReLU from the kernel and its two diagonals."""
    scale = jnp.sqrt(left * right)
    # a sample of norm zero has no angle; any cosine serves, as its scale is zero
    cosine = jnp.clip(k / jnp.where(scale > 0, scale, 1.0), -1.0, 1.0)
    return 0.5 * scale * _arc_cosine(cosine), 0.5 - special.arccos(cosine) / (2 * math.pi)


def _dual_erf(k, left, right):
    """Q and Q̇ of erf from the kernel and its two diagonals."""
    scale = 1 / jnp.sqrt((1 + 2 * left) * (1 + 2 * right))
    sine = 2 * k * scale
    q = 2 / math.pi * special.arcsin(sine)
    return q, 4 / math.pi * scale / jnp.sqrt((1 - sine) * (1 + sine))


# On the diagonal u = v. ReLU: half of E[u²], and P(u > 0). Taken exactly, since
# rounding k²/(k k) to just below 1 would cost arccos half of its digits.
_DIAGONAL = {
    "relu": lambda k: (0.5 * k, jnp.full_like(k, 0.5)),
    "erf": lambda k: (
        2 / math.pi * special.arcsin(2 * k / (1 + 2 * k)),
        4 / math.pi / jnp.sqrt(1 + 4 * k),
    ),
}
_DUAL = {"relu": _dual_relu, "erf": _dual_erf}


def _check_inputs(X, Z):
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


def _diagonals(k, activation, depth, weight_var, bias_var):
    """The diagonals of K, Q and Q̇, layer by layer."""
    layers = []
    for _ in range(depth):
        q, dq = _DIAGONAL[activation](k)
        layers.append((k, q, dq))
        k = bias_var + weight_var * q
    return layers


@functools.partial(jax.jit, static_argnames=("activation", "depth", "want"))
def _limit(X, Z, activation, depth, weight_var, bias_var, want):
    """Q of hidden layer `depth`, or Θ of the network with `depth` hidden layers."""
    own = Z is None
    Z = X if own else Z
    d = X.shape[1]

    def diagonals(rows):
        k = bias_var + weight_var / d * jnp.sum(rows * rows, axis=1)
        return _diagonals(k, activation, depth, weight_var, bias_var)

    k = bias_var + weight_var / d * (X @ Z.T)
    theta = k
    same = jnp.eye(X.shape[0], dtype=bool) if own else False
    for left, right in zip(diagonals(X), diagonals(Z), strict=True):
        q, dq = _DUAL[activation](k, left[0][:, None], right[0][None, :])
        if own:
            q = jnp.where(same, left[1][None, :], q)
            dq = jnp.where(same, left[2][None, :], dq)
        k = bias_var + weight_var * q
        theta = k + weight_var * theta * dq
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
    """
    _check_inputs(X, Z)
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
    """
    _check_inputs(X, Z)
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
    """`nngp` and `ntk` of one set of inputs.

    Args, Returns, Raises, Source: as for the two functions.
    """
    _check_inputs(X, None)
    _check_network(activation, depth, weight_var, bias_var)
    q = _limit(X, None, activation, depth, weight_var, bias_var, "nngp")
    # Behind the barrier the compiler sees another X. Sharing work between the two kernels
    # would write a dozen matrices to memory, which takes three times as long as computing
    # the entries twice.
    same = jax.lax.optimization_barrier(X)
    return q, _limit(same, None, activation, depth, weight_var, bias_var, "ntk")


@jax.jit
def _squared_distances(X, Z, M):
    XM = X if M is None else X @ M
    own = Z is None
    Z = X if own else Z
    ZM = XM if own else (Z if M is None else Z @ M)
    squares = jnp.sum(XM * X, axis=1)[:, None] + jnp.sum(ZM * Z, axis=1)[None, :]
    distance = jnp.clip(squares - 2 * XM @ Z.T, min=0.0)
    return jnp.where(jnp.eye(X.shape[0], dtype=bool), 0.0, distance) if own else distance


def _check_radial(X, Z, bandwidth, M):
    _check_inputs(X, Z)
    if not linalg.is_traced(bandwidth) and not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, not {bandwidth}")
    if M is not None:
        if M.shape != (X.shape[1], X.shape[1]):
            raise ValueError(f"M has shape {M.shape}, expected {(X.shape[1], X.shape[1])}")
        linalg.check_finite("M", M)


def laplace(
    X: Float[Array, "n d"],
    Z: Float[Array, "m d"] | None = None,
    *,
    bandwidth: float,
    M: Float[Array, "d d"] | None = None,
) -> Float[Array, "n m"]:
    r"""Laplace kernel $\exp(-\lVert x - z \rVert_M / L)$, $\lVert u \rVert_M^2 = u^\top M u$.

    Args:
        X: n × d inputs.
        Z: m × d inputs; X itself if left out, and then the diagonal is exactly 1.
        bandwidth: L, in the units of the distance.
        M: d × d symmetric positive semi-definite; the identity if left out.

    Returns:
        n × m kernel matrix. Not differentiable where two inputs coincide: JAX gets
        derivative zero there.

    Raises:
        ValueError: on a bandwidth ≤ 0, or shapes that do not match.

    Source: P3 Section 4.
    """
    _check_radial(X, Z, bandwidth, M)
    squared = _squared_distances(X, Z, M)
    apart = squared > 0
    return jnp.exp(-jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0) / bandwidth)


def gaussian(
    X: Float[Array, "n d"],
    Z: Float[Array, "m d"] | None = None,
    *,
    bandwidth: float,
    M: Float[Array, "d d"] | None = None,
) -> Float[Array, "n m"]:
    r"""Gaussian kernel $\exp(-\lVert x - z \rVert_M^2 / (2 L^2))$.

    Args, Returns, Raises: as for `laplace`.

    Source: P3 Section 4 and Appendix D.
    """
    _check_radial(X, Z, bandwidth, M)
    return jnp.exp(-_squared_distances(X, Z, M) / (2 * bandwidth**2))
