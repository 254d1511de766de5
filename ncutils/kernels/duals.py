r"""Gaussian expectations of an activation and its slope, the step from layer to layer.

For a pair $(u, v)$ of centred Gaussians with variances $k_{11}, k_{22}$ and covariance
$k_{12}$, the dual of an activation $\phi$ is $Q = \mathbb E[\phi(u)\phi(v)]$, and
$\dot Q = \mathbb E[\phi'(u)\phi'(v)]$ is its derivative by $k_{12}$ (Price's theorem).
"""

import math

import jax
import jax.numpy as jnp

from ncutils._fast import arcsine

ACTIVATIONS = ("erf", "relu")


@jax.custom_jvp
def _arc_cosine(c):
    """(sin θ + (π - θ) cos θ) / π at c = cos θ; its derivative is (π - θ) / π.

    Told to JAX because differentiating through arccos gives NaN at θ = 0 and π,
    where the derivative is finite.
    """
    return (jnp.sqrt((1 - c) * (1 + c)) + (math.pi - arcsine.arccos(c)) * c) / math.pi


@_arc_cosine.defjvp
def _arc_cosine_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    return _arc_cosine(c), dc * (math.pi - arcsine.arccos(c)) / math.pi


def _dual_relu(k, left, right):
    """Q and Q̇ of ReLU from the kernel and its two diagonals."""
    scale = jnp.sqrt(left * right)
    # a sample of norm zero has no angle; any cosine serves, as its scale is zero
    cosine = jnp.clip(k / jnp.where(scale > 0, scale, 1.0), -1.0, 1.0)
    return 0.5 * scale * _arc_cosine(cosine), 0.5 - arcsine.arccos(cosine) / (2 * math.pi)


def _dual_erf(k, left, right):
    """Q and Q̇ of erf from the kernel and its two diagonals."""
    scale = 1 / jnp.sqrt((1 + 2 * left) * (1 + 2 * right))
    sine = 2 * k * scale
    q = 2 / math.pi * arcsine.arcsin(sine)
    return q, 4 / math.pi * scale / jnp.sqrt((1 - sine) * (1 + sine))


# On the diagonal u = v. ReLU: half of E[u²], and P(u > 0). Taken exactly, since
# rounding k²/(k k) to just below 1 would cost arccos half of its digits.
DIAGONAL = {
    "relu": lambda k: (0.5 * k, jnp.full_like(k, 0.5)),
    "erf": lambda k: (
        2 / math.pi * arcsine.arcsin(2 * k / (1 + 2 * k)),
        4 / math.pi / jnp.sqrt(1 + 4 * k),
    ),
}
DUAL = {"relu": _dual_relu, "erf": _dual_erf}


def diagonals(k, activation, depth, weight_var, bias_var):
    """The diagonals of K, Q and Q̇, layer by layer."""
    layers = []
    for _ in range(depth):
        q, dq = DIAGONAL[activation](k)
        layers.append((k, q, dq))
        k = bias_var + weight_var * q
    return layers
