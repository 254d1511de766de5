r"""Theory of Deep RFM beside the Gram map: angles under a ReLU layer, the relaxed problem."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils import kernels, linalg

# --- one random ReLU layer ------------------------------------------------------------------


def _check_angles(angle) -> None:
    linalg.check_finite("angle", angle)
    if linalg.is_traced(angle):
        return
    values = np.asarray(angle)
    if values.size and not (values.min() >= 0 and values.max() <= math.pi):
        raise ValueError(f"angles lie in [0, π], not in [{values.min()}, {values.max()}]")


def relu_inner_product(angle: Float[Array, " a"]) -> Float[Array, " a"]:
    r"""Expected inner product of two unit vectors after a random ReLU layer.

    $$J(\theta) = \mathbb E\,\sigma(Wx)^\top \sigma(Wz)
        = \tfrac1\pi \big(\sin\theta + (\pi - \theta)\cos\theta\big), \qquad
      W_{ij} \sim \mathcal N(0, 2/D).$$

    Args:
        angle: angles θ between the vectors, radians in [0, π].

    Returns:
        One inner product for each angle; 1 at θ = 0.

    Raises:
        ValueError: on an angle outside [0, π].

    Source: P3, Proposition A.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils.deep_rfm import theory
        >>> theory.relu_inner_product(jnp.array([0.0, jnp.pi / 2])).round(3).tolist()
        [1.0, 0.318]
    """
    _check_angles(angle)
    first = jnp.array([[1.0, 0.0]], angle.dtype)
    second = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return kernels.nngp(first, second, activation="relu", weight_var=4.0)[0]


def relu_variance(angle: Float[Array, " a"]) -> Float[Array, " a"]:
    r"""D times the variance of $\sigma(Wx)^\top\sigma(Wz)$ over random W with D rows.

    $$D\,\mathrm{Var} = \tfrac2\pi\big(3\sin\theta\cos\theta + (\pi-\theta)(1 + 2\cos^2\theta)\big)
        - J(\theta)^2 .$$

    Args, Raises: as for `relu_inner_product`.

    Returns:
        One number for each angle, from 5 at θ = 0 down to 0 at θ = π.

    Source: ours; P3's Proposition A.1 states the order 1/D. The fourth moment is the
        arc-cosine kernel of order 2 of Cho and Saul (2009).
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    fourth = 2 / math.pi * (3 * sin * cos + (math.pi - angle) * (1 + 2 * cos**2))
    return fourth - relu_inner_product(angle) ** 2


def relu_distance_ratio(angle: Float[Array, " a"]) -> Float[Array, " a"]:
    r"""Expected squared distance after a random ReLU layer, divided by that before.

    $$\rho(\theta) = \frac{2 - 2J(\theta)}{2 - 2\cos\theta}
        = 1 - \frac{\sin\theta - \theta\cos\theta}{\pi\,(1 - \cos\theta)},$$
    which falls from 1 at θ = 0 to ½ at θ = π.

    Args, Raises: as for `relu_inner_product`.

    Returns:
        One ratio for each angle.

    Source: ours, from P3, Proposition A.1.
    """
    _check_angles(angle)
    apart = angle > 0
    safe = jnp.where(apart, angle, 1.0)
    # 1 - cos θ written so that it keeps its digits at small angles
    gap = 2 * jnp.sin(safe / 2) ** 2
    shrink = (jnp.sin(safe) - safe * jnp.cos(safe)) / (math.pi * gap)
    return jnp.where(apart, 1 - shrink, 1.0)


# --- the relaxed problem of Theorem 5.4 ---------------------------------------------------------


def _check_ridge(ridge) -> None:
    if not linalg.is_traced(ridge) and not ridge > 0:
        raise ValueError(f"the ridge μ must be positive, not {ridge}")


def relaxed_objective(
    k: Float[Array, "N N"], Y: Float[Array, "C N"], *, ridge: float
) -> Float[Array, ""]:
    r"""The relaxed problem (7) with the coefficients eliminated.

    $$\min_A \lVert Y - Ak \rVert_F^2 + \mu \operatorname{tr}(k A^\top A)
        = \mu \operatorname{tr}\big(Y (k + \mu I)^{-1} Y^\top\big) .$$

    Args:
        k: kernel matrix, symmetric positive semi-definite.
        Y: labels, one row a class.
        ridge: μ.

    Returns:
        A scalar.

    Raises:
        ValueError: if k and Y do not match, or μ is not positive.

    Source: P3, (7).
    """
    if k.shape != (Y.shape[1], Y.shape[1]):
        raise ValueError(f"labels of {Y.shape[1]} samples, kernel of shape {k.shape}")
    _check_ridge(ridge)
    factor = jax.scipy.linalg.cho_factor(k + ridge * jnp.eye(k.shape[0], dtype=k.dtype))
    return ridge * jnp.sum(Y * jax.scipy.linalg.cho_solve(factor, Y.T).T)


def relaxed_minimum(*, num_classes: int, per_class: int, ridge: float) -> float:
    r"""The minimum of (7) over kernels with unit diagonal: $Cn\,\mu / (n + \mu)$ at $Y^\top Y$.

    Source: P3, Theorem 5.4; the value is ours.

    Example:
        >>> from ncutils.deep_rfm import theory
        >>> theory.relaxed_minimum(num_classes=2, per_class=3, ridge=1.0)
        1.5
    """
    _check_ridge(ridge)
    return num_classes * per_class * ridge / (per_class + ridge)


def realising_metric(X: Float[Array, "N d"], R: Float[Array, "N p"]) -> Float[Array, "d d"]:
    r"""A Mahalanobis matrix under which samples have the distances of any given points.

    $M = BB^\top$ with $B = X^\dagger R$, so that $XB = R$ and
    $(x_i - x_j)^\top M (x_i - x_j) = \lVert r_i - r_j \rVert^2$.

    Args:
        X: N × d samples, linearly independent.
        R: N × p points to imitate.

    Returns:
        d × d positive semi-definite matrix of rank at most p.

    Raises:
        ValueError: if the samples are dependent, with their rank, or numbers differ.

    Source: P3, proof of Proposition B.1 (with samples as columns).
    """
    if X.shape[0] != R.shape[0]:
        raise ValueError(f"{X.shape[0]} samples, but {R.shape[0]} points to imitate")
    linalg.check_finite("X", X)
    linalg.check_finite("R", R)
    left, values, right = jnp.linalg.svd(X, full_matrices=False)
    rank = int(jnp.sum(values > values[0] * max(X.shape) * jnp.finfo(X.dtype).eps))
    if rank < X.shape[0]:
        raise ValueError(
            f"{X.shape[0]} samples of rank {rank} are dependent: no matrix can tell them all apart"
        )
    B = right.T @ ((left.T @ R) / values[:, None])
    return B @ B.T
