"""Radial kernels with a metric: Laplace and Gaussian."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ncutils import linalg
from ncutils.kernels.limits import check_inputs


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
    check_inputs(X, Z)
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
