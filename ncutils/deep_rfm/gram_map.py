r"""The Gram map of Deep RFM: one layer of the asymptotic theory, its fixed point and rates.

Samples are sorted by class, n in each of C classes, N = Cn in all, and the collapsed
Gram matrix is $Y^\top Y = I_C \otimes \mathbf 1_n \mathbf 1_n^\top$.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils import linalg


def _check_sizes(num_classes, per_class) -> None:
    if num_classes < 2 or per_class < 1:
        raise ValueError(
            f"two classes or more with a sample or more each, not {num_classes} with {per_class}"
        )


def _check_ridges(predictor_ridge, map_ridge) -> None:
    if linalg.is_traced(predictor_ridge) or linalg.is_traced(map_ridge):
        return
    if not (predictor_ridge > 0 and map_ridge > 0):
        raise ValueError(
            f"both ridges must be positive, not λ̂ = {predictor_ridge} and λ_map = {map_ridge}"
        )


def collapsed_gram(*, num_classes: int, per_class: int) -> Float[Array, "N N"]:
    r"""$G = Y^\top Y = I_C \otimes \mathbf 1_n \mathbf 1_n^\top$: each class one point.

    Example:
        >>> from ncutils.deep_rfm import gram_map
        >>> print(gram_map.collapsed_gram(num_classes=2, per_class=2))
        [[1. 1. 0. 0.]
         [1. 1. 0. 0.]
         [0. 0. 1. 1.]
         [0. 0. 1. 1.]]
    """
    _check_sizes(num_classes, per_class)
    return jnp.kron(jnp.eye(num_classes), jnp.ones((per_class, per_class)))


def exact_scale(*, per_class: int, predictor_ridge: float, map_ridge: float):
    r"""The normalisation κ⋆ that makes the collapsed Gram matrix a fixed point.

    $$\kappa_\star = \Big(\frac{n + \lambda_{map}}{n + \lambda_{map} + \hat\lambda}\Big)^2 .$$

    Args:
        per_class: n.
        predictor_ridge: $\hat\lambda > 0$.
        map_ridge: $\lambda_{map} > 0$.

    Raises:
        ValueError: on a ridge that is not positive.

    Source: ours; differs from the κ that P3 prints, see `printed_scale`.

    Example:
        >>> from ncutils.deep_rfm import gram_map
        >>> gram_map.exact_scale(per_class=8, predictor_ridge=3.0, map_ridge=1.0)
        0.5625
    """
    _check_ridges(predictor_ridge, map_ridge)
    return ((per_class + map_ridge) / (per_class + map_ridge + predictor_ridge)) ** 2


def printed_scale(*, predictor_ridge: float, map_ridge: float):
    r"""The normalisation that P3 prints: $\kappa = 1 - 2\hat\lambda(1 + \lambda_{map}^{-1})$.

    Args, Raises: as for `exact_scale`; also if κ would not be positive.

    Source: P3, Section 5.2.
    """
    _check_ridges(predictor_ridge, map_ridge)
    scale = 1 - 2 * predictor_ridge * (1 + 1 / map_ridge)
    if not linalg.is_traced(scale) and not scale > 0:
        raise ValueError(
            f"κ = {scale} is not positive: λ̂ = {predictor_ridge} is too large for "
            f"λ_map = {map_ridge}"
        )
    return scale


def gram_step(
    gram: Float[Array, "N N"],
    target: Float[Array, "N N"],
    *,
    scale,
    predictor_ridge,
    map_ridge,
) -> Float[Array, "N N"]:
    r"""One layer of Deep RFM as a map of Gram matrices.

    $$F(T) = \kappa^{-1} S\, Y^\top Y\, S, \qquad
      S = A (A + \hat\lambda I)^{-1} = I - \hat\lambda (A + \hat\lambda I)^{-1}, \qquad
      A = T + \lambda_{map} I .$$

    Args:
        gram: T, the Gram matrix after the AGOP of a layer; symmetric, not negative.
        target: $Y^\top Y$.
        scale: κ.
        predictor_ridge: $\hat\lambda$.
        map_ridge: $\lambda_{map}$.

    Returns:
        The Gram matrix after the AGOP of the next layer.

    Source: P3, Section 5.2.
    """
    eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
    factor = jax.scipy.linalg.cho_factor(gram + (map_ridge + predictor_ridge) * eye)
    smoother = eye - predictor_ridge * jax.scipy.linalg.cho_solve(factor, eye)
    after = smoother @ target @ smoother / scale
    return 0.5 * (after + after.T)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GramPath:
    r"""Gram matrices layer by layer and how far each is from collapse.

    Attributes:
        gram: the last Gram matrix.
        error: spectral norm of $T_l - Y^\top Y$, the start first.
    """

    gram: Float[Array, "*batch N N"]
    error: Float[Array, "*batch layers"]


def gram_path(
    gram: Float[Array, "N N"],
    *,
    num_classes: int,
    layers: int,
    scale,
    predictor_ridge,
    map_ridge,
) -> GramPath:
    r"""Iterate `gram_step` with the target of C equal classes.

    Args:
        gram: N × N Gram matrix to start from.
        num_classes: C, a divisor of N; samples are sorted by class.
        layers: how many steps.
        scale: κ. predictor_ridge: $\hat\lambda$. map_ridge: $\lambda_{map}$.

    Returns:
        The last Gram matrix and layers + 1 errors.

    Raises:
        ValueError: on a matrix that is not square or not finite, classes that do not
            divide N, a scale or ridge that is not positive.

    Source: P3, Theorem 5.3.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils.deep_rfm import gram_map
        >>> ridges = {"predictor_ridge": 0.1, "map_ridge": 1.0}
        >>> scale = gram_map.exact_scale(per_class=2, **ridges)
        >>> path = gram_map.gram_path(jnp.eye(4), num_classes=2, layers=3, scale=scale, **ridges)
        >>> bool(path.error[3] < 0.01 < path.error[0])
        True
    """
    size = gram.shape[0]
    if gram.shape != (size, size) or size % num_classes:
        raise ValueError(f"a Gram matrix of {num_classes} equal classes, not of shape {gram.shape}")
    linalg.check_finite("gram", gram)
    _check_ridges(predictor_ridge, map_ridge)
    if not linalg.is_traced(scale) and not scale > 0:
        raise ValueError(f"the scale κ must be positive, not {scale}")
    target = collapsed_gram(num_classes=num_classes, per_class=size // num_classes)
    return _gram_path(gram, target, scale, predictor_ridge, map_ridge, layers=layers)


@functools.partial(jax.jit, static_argnames="layers")
def _gram_path(gram, target, scale, predictor_ridge, map_ridge, *, layers):
    def error(T):
        # spectral norm of a symmetric matrix
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(T - target)))

    def step(T, _):
        T = gram_step(T, target, scale=scale, predictor_ridge=predictor_ridge, map_ridge=map_ridge)
        return T, error(T)

    last, errors = jax.lax.scan(step, gram, length=layers)
    return GramPath(gram=last, error=jnp.concatenate([error(gram)[None], errors]))


@dataclass(frozen=True)
class Rates:
    r"""Factors by which small errors of the collapsed Gram matrix shrink in a layer.

    With Π the projector on the labels, $\Pi = Y^\top Y / n$, an error E has three parts.

    Attributes:
        mixed: of $\Pi E (I - \Pi)$ and its transpose; C(N-C) dimensions.
        label: of $\Pi E \Pi$; C(C+1)/2 dimensions.
        rest: of $(I - \Pi) E (I - \Pi)$, zero to first order; the other dimensions.
    """

    mixed: float
    label: float
    rest: float = 0.0

    @property
    def slowest(self) -> float:
        """The asymptotic rate of a generic start."""
        return max(self.mixed, self.label)


def rates(*, per_class: int, predictor_ridge: float, map_ridge: float) -> Rates:
    r"""The derivative of the Gram map at its collapsed fixed point, for κ = κ⋆.

    $$r = \frac{\hat\lambda n}{(n + \lambda_{map})(\lambda_{map} + \hat\lambda)}, \qquad
      r_\Pi = \frac{2\hat\lambda n}{(n + \lambda_{map})(n + \lambda_{map} + \hat\lambda)} .$$

    Args, Raises: as for `exact_scale`.

    Returns:
        `Rates`; r is the larger of the two when $n > \lambda_{map} + \hat\lambda$.

    Source: ours; corrects P3, Theorem 5.3.

    Example:
        >>> from ncutils.deep_rfm import gram_map
        >>> round(gram_map.rates(per_class=9, predictor_ridge=1.0, map_ridge=1.0).slowest, 3)
        0.45
    """
    _check_ridges(predictor_ridge, map_ridge)
    top = predictor_ridge * per_class / (per_class + map_ridge)
    return Rates(
        mixed=top / (map_ridge + predictor_ridge),
        label=2 * top / (per_class + map_ridge + predictor_ridge),
    )


def plateau(*, per_class: int, scale: float, predictor_ridge: float, map_ridge: float) -> float:
    r"""Where the Gram map ends with another normalisation.

    $$|\tau - n|, \qquad F(\tau\Pi) = \tau\Pi, \qquad
      \tau = \frac n\kappa \Big(\frac{\tau + \lambda_{map}}
        {\tau + \lambda_{map} + \hat\lambda}\Big)^2,$$
    a cubic equation for $\sqrt\tau$, of which the largest root is taken.

    Args:
        per_class: n. scale: κ. predictor_ridge: $\hat\lambda$. map_ridge: $\lambda_{map}$.

    Returns:
        Spectral norm of the error that remains; zero for κ = κ⋆.

    Raises:
        ValueError: on a ridge or scale that is not positive.

    Source: ours; the remainder of P3, Theorem 5.3.
    """
    _check_ridges(predictor_ridge, map_ridge)
    if not scale > 0:
        raise ValueError(f"the scale κ must be positive, not {scale}")
    a = math.sqrt(scale / per_class)
    roots = np.roots([a, -1.0, a * (map_ridge + predictor_ridge), -map_ridge])
    real = roots.real[np.abs(roots.imag) < 1e-9 * np.abs(roots)]
    return float(abs(real.max() ** 2 - per_class))
