r"""The kernel of an erf layer whose weights are Gaussian with any covariance Σ.

For $w \sim \mathcal N(0, \Sigma)$ and $K = X\Sigma X^\top$ with diagonal k,

$$Q_\Sigma(x_i, x_j) = \sigma_a^2\, \mathbb E[\mathrm{erf}(w \cdot x_i)\,\mathrm{erf}(w \cdot x_j)]
  = \sigma_a^2\,\tfrac2\pi \arcsin \frac{2 K_{ij}}{\sqrt{(1 + 2k_i)(1 + 2k_j)}}.$$

Its derivative has a closed form too. By Price's theorem $\partial Q_{ij} / \partial K_{ij}
= \sigma_a^2 \dot Q_{ij}$ with $\dot Q_{ij} = \tfrac4\pi [(1 + 2k_i)(1 + 2k_j) -
4K_{ij}^2]^{-1/2}$, the kernel of erf', and each $k_i$ enters through its factor, so that

$$dQ_{ij} = \sigma_a^2 \dot Q_{ij}\Big[dK_{ij} - K_{ij}\Big(\frac{dk_i}{1 + 2k_i}
  + \frac{dk_j}{1 + 2k_j}\Big)\Big].$$

For symmetric A, with $V = A \odot \dot Q$, this sums to

$$\frac{\partial\,\mathrm{Tr}[A\,Q_\Sigma]}{\partial\Sigma}
  = \sigma_a^2 X^\top\big[V - \mathrm{diag}(c)\big] X, \qquad
  c_i = \frac{2}{1 + 2k_i} \sum_j V_{ij} K_{ij}.$$
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ncutils import linalg
from ncutils._fast import arcsine


class Gram(NamedTuple):
    """K, its diagonal, Q and the derivative kernel of one Σ on one set of inputs."""

    inner: Float[Array, "n n"]
    norms: Float[Array, " n"]
    kernel: Float[Array, "n n"]
    derivative: Float[Array, "n n"]


def gram(root: Float[Array, "d d"], X: Float[Array, "n d"], readout_var) -> Gram:
    r"""The four matrices at $\Sigma = R R^\top$; unchecked, for use inside `jit`.

    Args:
        root: R, any d × d root of Σ.
        X: n × d inputs.
        readout_var: $\sigma_a^2$.
    """
    Z = X @ root
    K = Z @ Z.T
    k = jnp.diagonal(K)
    product = (1 + 2 * k)[:, None] * (1 + 2 * k)[None, :]
    Q = readout_var * 2 / math.pi * arcsine.arcsin(2 * K / jnp.sqrt(product))
    # never 0/0: the bracket is at least 1 + 2k_i + 2k_j
    return Gram(K, k, Q, 4 / math.pi * jax.lax.rsqrt(product - 4 * K * K))


def contract(
    A: Float[Array, "n n"], X: Float[Array, "n d"], at: Gram, readout_var
) -> Float[Array, "d d"]:
    r"""$\partial\,\mathrm{Tr}[A\,Q_\Sigma] / \partial\Sigma$ at fixed symmetric A; unchecked."""
    V = A * at.derivative
    c = 2 / (1 + 2 * at.norms) * jnp.sum(V * at.inner, axis=1)
    G = readout_var * X.T @ (V @ X - c[:, None] * X)
    return 0.5 * (G + G.T)


def _check(sigma, X, readout_var):
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X is n × d with n, d ≥ 1, not of shape {X.shape}")
    if sigma.shape != (X.shape[1],) * 2:
        raise ValueError(f"sigma has shape {sigma.shape}, X has {X.shape[1]} columns")
    linalg.check_finite("X", X)
    linalg.check_finite("sigma", sigma)
    if not linalg.is_traced(readout_var) and not readout_var > 0:
        raise ValueError(f"readout_var must be positive, not {readout_var}")


def kernel(
    sigma: Float[Array, "d d"], X: Float[Array, "n d"], *, readout_var: float = 1 / 128
) -> Float[Array, "n n"]:
    r"""Kernel $Q_\Sigma$ of the head; $\Sigma = \tfrac{\sigma_w^2}{d} I$ gives the NNGP.

    Args:
        sigma: d × d covariance of the weights, positive definite.
        X: n × d inputs.
        readout_var: $\sigma_a^2$, which only scales the kernel.

    Returns:
        n × n kernel matrix.

    Raises:
        ValueError: on shapes that do not match, entries that are not finite, or a
            readout_var ≤ 0.

    Source: P1 Definition 6.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import eos, kernels
        >>> X = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> Q = eos.kernel(jnp.eye(2) / 2, X, readout_var=1.0)
        >>> bool(jnp.allclose(Q, kernels.nngp(X, activation="erf")))
        True
    """
    _check(sigma, X, readout_var)
    return gram(jnp.linalg.cholesky(sigma), X, readout_var).kernel


def trace_gradient(
    A: Float[Array, "n n"],
    sigma: Float[Array, "d d"],
    X: Float[Array, "n d"],
    *,
    readout_var: float = 1 / 128,
) -> Float[Array, "d d"]:
    r"""$\partial\,\mathrm{Tr}[A\,Q_\Sigma] / \partial\Sigma$ of the head, at fixed A.

    Args, Raises: as for `kernel`; A is n × n and symmetric.

    Returns:
        d × d, symmetric.

    Source: derived from P1 Definition 6.1.
    """
    _check(sigma, X, readout_var)
    if A.shape != (X.shape[0],) * 2:
        raise ValueError(f"A has shape {A.shape}, X has {X.shape[0]} rows")
    return contract(A, X, gram(jnp.linalg.cholesky(sigma), X, readout_var), readout_var)
