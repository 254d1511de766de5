r"""Where a balanced flow ends: Gram matrices in closed form.

At a state with zero loss, $E = O$ and no within-class part, the class means
and the classifier satisfy $W H_1 = T$ with $T = I_C - b \mathbf 1_C^\top$ and
$W^\top W = H_1 M^{-1} H_1^\top$, where M is the kernel of the class means
(`ClassKernel.class_mean_kernel`). Both Gram matrices follow from b and M alone.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ncutils.linalg import centring, check_finite, is_traced, psd_sqrt


def classifier_gram(b: Float[Array, " C"], M: Float[Array, "C C"]) -> Float[Array, "C C"]:
    r"""The limit of $WW^\top$.

    $$WW^\top = \big(T M^{-1} T^\top\big)^{1/2},$$
    for equal classes and three kernel values
    $(WW^\top)^2 = \frac m{\mu_{class}}\big[I - \alpha\mathbf{11}^\top
        + (1-\alpha C)(C bb^\top - b\mathbf 1^\top - \mathbf 1 b^\top)\big]$.

    Args:
        b: C biases at the end.
        M: C × C kernel of the class means, positive definite.

    Returns:
        The C × C Gram matrix of the rows of W.

    Raises:
        ValueError: if M is not symmetric positive definite.

    Source: P2, (29), (60); general M is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import block_ntk
        >>> block_ntk.classifier_gram(jnp.zeros(2), jnp.eye(2)).round(6).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    _check_mean_kernel(b, M)
    T = _target(b)
    return psd_sqrt(T @ jnp.linalg.solve(M, T.T))


def class_mean_gram(b: Float[Array, " C"], M: Float[Array, "C C"]) -> Float[Array, "C C"]:
    r"""The limit of $H_1^\top H_1$: the positive semi-definite X with $X M^{-1} X = T^\top T$.

    With $M = LL^\top$, $X = L\,(L^{-1} T^\top T L^{-\top})^{1/2} L^\top$, the matrix
    geometric mean of M and $T^\top T$; without biases it is $M^{1/2}$.

    Args, Raises: as for `classifier_gram`.

    Returns:
        The C × C Gram matrix of the class means.

    Source: P2, (63), solved for $H_1^\top H_1$; general M is ours.
    """
    _check_mean_kernel(b, M)
    L = jnp.linalg.cholesky(M)
    scaled = jnp.linalg.solve(L, _target(b).T)
    return L @ psd_sqrt(scaled @ scaled.T) @ L.T


def simplex_defect(b: Float[Array, " C"], M: Float[Array, "C C"]) -> Float[Array, ""]:
    r"""How far the limiting classifier is from a simplex frame.

    $$\big\|G/\|G\|_F - P/\|P\|_F\big\|_F,\qquad G = (T M^{-1} T^\top)^{1/2},\;
      P = I - \tfrac1C\mathbf{11}^\top .$$
    It is zero iff NC2 and NC3 both hold at the end.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils.block_ntk import BlockKernel, simplex_defect
        >>> kernel, b = BlockKernel(2.0, 1.0, 0.3), jnp.full(3, 1 / 3)
        >>> [round(float(simplex_defect(b, kernel.class_mean_kernel(m, 3))), 3)
        ...  for m in ((4, 4, 4), (2, 3, 7))]
        [0.0, 0.051]
    """
    G = classifier_gram(b, M)
    P = centring(b.shape[0])
    return jnp.linalg.norm(G / jnp.linalg.norm(G) - P / jnp.linalg.norm(P))


@dataclasses.dataclass(frozen=True)
class EqualBiasFrames:
    r"""The two frames when all biases are β.

    Attributes:
        rho: $WW^\top \propto I - \rho\mathbf{11}^\top$.
        phi: $H_1^\top H_1 \propto I - \varphi\mathbf{11}^\top$.
        classifier_cosine: cosine between two rows of W, $-\rho/(1-\rho)$.
        class_mean_cosine: cosine between two class means, $-\varphi/(1-\varphi)$.
    """

    rho: Float[Array, ""]
    phi: Float[Array, ""]
    classifier_cosine: Float[Array, ""]
    class_mean_cosine: Float[Array, ""]


def equal_bias_frames(beta: float, alpha: float, *, C: int) -> EqualBiasFrames:
    r"""Angles of both frames for $b = \beta\mathbf 1$, three kernel values, equal classes.

    $$\rho = \tfrac1C\big(1 - |1-C\beta|\sqrt{1-\alpha C}\big),\qquad
      \varphi = \tfrac1C\Big(1 - \frac{|1-C\beta|}{\sqrt{1-\alpha C}}\Big).$$

    Args:
        beta: the common bias.
        alpha: `BlockKernel.alpha`, from 0 up to but not including 1/C.
        C: number of classes.

    Returns:
        Both constants and both cosines.

    Raises:
        ValueError: if alpha is outside [0, 1/C).

    Source: P2, (30), (61)–(62), (65)–(66), (68).
    """
    if not is_traced(alpha) and not 0 <= float(alpha) < 1 / C:
        raise ValueError(f"alpha lies in [0, 1/C) = [0, {1 / C:g}); got {float(alpha):g}")
    alpha, beta = jnp.asarray(alpha, dtype=float), jnp.asarray(beta, dtype=float)
    shift, root = jnp.abs(1 - C * beta), jnp.sqrt(1 - alpha * C)
    rho, phi = (1 - shift * root) / C, (1 - shift / root) / C
    return EqualBiasFrames(rho, phi, -rho / (1 - rho), -phi / (1 - phi))


def within_class_bound(start: float, ts: Float[Array, " T"], *, rank: int) -> Float[Array, " T"]:
    r"""An upper bound on the within-class scatter of any flow with $E \succeq 0$.

    $$\operatorname{tr} V_c V_c^\top (t) \le
      \Big(\frac1{\operatorname{tr} V_c V_c^\top(0)} + \frac{2t}r\Big)^{-1},\qquad
      V_c V_c^\top = m_c H_2^{(c)} H_2^{(c)\top} .$$

    It holds at all times, for every class size, bias and mean, and for kernel
    values that differ by class; zero loss is not assumed.

    Args:
        start: the scatter at t = 0: squared distances to the class mean, summed.
        ts: T times.
        rank: r, the rank of the class's deviations, at most min(n, m_c − 1).

    Returns:
        The bound at each time.

    Raises:
        ValueError: if start is negative or rank is below 1.

    Source: ours; it sharpens P2, (50), which is stated after the class means are fitted.
    """
    if start < 0 or rank < 1:
        raise ValueError(f"need start >= 0 and rank >= 1; got {start}, {rank}")
    return start / (1 + 2 * start * ts / rank)


def _target(b):
    return jnp.eye(b.shape[0]) - jnp.outer(b, jnp.ones_like(b))


def _check_mean_kernel(b, M) -> None:
    if M.shape != (b.shape[0],) * 2:
        raise ValueError(f"M must be C × C for C = {b.shape[0]} biases; got shape {M.shape}")
    check_finite("b", b)
    check_finite("M", M)
    if is_traced(M):
        return
    values = np.linalg.eigvalsh(np.asarray(M))
    if not np.allclose(M, np.asarray(M).T) or values[0] <= 0:
        raise ValueError(
            f"M must be symmetric positive definite; its eigenvalues start at {values[0]:g}"
        )
