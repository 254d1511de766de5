r"""Class means and within-class part: of features and their flow, of residuals and their rates."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import scipy.linalg
from jaxtyping import Array, Float

from ncutils.block_ntk.kernels import BlockKernel, class_sizes, class_sums, spread


def within_basis(m: int) -> Float[Array, "m p"]:
    r"""Orthonormal columns orthogonal to $\mathbf 1_m$: the Helmert matrix without its mean.

    Source: P2, (22), $\tilde Q_2$; the released code takes another such basis.
    """
    return jnp.asarray(scipy.linalg.helmert(m).T)


def decompose(
    H: Float[Array, "n N"], *, m: int | Sequence[int], C: int
) -> tuple[Float[Array, "n C"], Float[Array, "n D"]]:
    r"""Features as class means and within-class part.

    $$H_1 = \tfrac1{\sqrt m} H Q_1 = [\langle h\rangle_1, \dots, \langle h\rangle_C],\qquad
      H_2 = \tfrac1{\sqrt m} H Q_2 .$$
    $H_2^{(c)} H_2^{(c)\top}$ is the covariance of class c (divided by $m_c$).

    Args:
        H: n × N features, columns sorted by class.
        m: samples per class, one integer or C; each class uses its own $m_c$.
        C: number of classes.

    Returns:
        The pair (H1, H2).

    Raises:
        ValueError: if H does not have N columns.

    Source: P2, (23)–(24). The released code's `H2` is $\sqrt m H_2$.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import block_ntk
        >>> H1, H2 = block_ntk.decompose(jnp.array([[1.0, 3.0, 5.0, 5.0]]), m=2, C=2)
        >>> H1.round(6).tolist()
        [[2.0, 5.0]]
        >>> (H2**2).sum().round(6).item()
        1.0
    """
    sizes = class_sizes(m, C)
    if H.shape[1] != sum(sizes):
        raise ValueError(
            f"H has {H.shape[1]} columns, but m = {m} and C = {C} ask for {sum(sizes)}"
        )
    starts = [sum(sizes[:c]) for c in range(C)]
    inside = [
        H[:, a : a + s] @ within_basis(s) * s**-0.5 for a, s in zip(starts, sizes, strict=True)
    ]
    return class_sums(H, sizes) / jnp.asarray(sizes)[None, :], jnp.concatenate(inside, axis=1)


def compose(
    H1: Float[Array, "n C"], H2: Float[Array, "n D"], *, m: int | Sequence[int]
) -> Float[Array, "n N"]:
    r"""The inverse of `decompose`: $H = \sqrt m\,(H_1 Q_1^\top + H_2 Q_2^\top)$.

    Raises:
        ValueError: if H2 does not have N − C columns.

    Source: P2, (23).

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import block_ntk
        >>> H = jnp.array([[1.0, 3.0, 5.0, 5.0]])
        >>> block_ntk.compose(*block_ntk.decompose(H, m=2, C=2), m=2).round(6).tolist()
        [[1.0, 3.0, 5.0, 5.0]]
    """
    C = H1.shape[1]
    sizes = class_sizes(m, C)
    if H2.shape[1] != sum(sizes) - C:
        raise ValueError(f"H2 has {H2.shape[1]} columns, {sum(sizes) - C} needed for m = {m}")
    starts = [sum(sizes[:c]) - c for c in range(C)]
    inside = [
        H2[:, a : a + s - 1] @ within_basis(s).T * s**0.5
        for a, s in zip(starts, sizes, strict=True)
    ]
    return spread(H1, sizes) + jnp.concatenate(inside, axis=1)


@dataclasses.dataclass(frozen=True)
class ResidualParts:
    """A residual split along the eigenspaces of a block kernel; the three add up to it.

    Attributes:
        global_: the mean over all samples, in every column.
        class_: class mean minus global mean. sample: sample minus its class mean.
    """

    global_: Float[Array, "*batch C N"]
    class_: Float[Array, "*batch C N"]
    sample: Float[Array, "*batch C N"]


def residual_parts(R: Float[Array, "*batch C N"], *, m: int, C: int) -> ResidualParts:
    r"""Split $R = R_{global} + (R_{class} - R_{global}) + (R - R_{class})$.

    $$R_{class} = \tfrac1m R Y^\top Y,\qquad R_{global} = \tfrac1N R \mathbf{11}^\top .$$

    Source: P2, (11)–(12), (16)–(18).
    """
    class_sizes(m, C)
    if R.shape[-1] != m * C:
        raise ValueError(f"R has {R.shape[-1]} columns, {m * C} needed for m = {m}, C = {C}")
    blocks = R.reshape(*R.shape[:-1], C, m)
    means = jnp.broadcast_to(blocks.mean(axis=-1, keepdims=True), blocks.shape).reshape(R.shape)
    overall = jnp.broadcast_to(R.mean(axis=-1, keepdims=True), R.shape)
    return ResidualParts(global_=overall, class_=means - overall, sample=R - means)


def gradient_descent(
    R: Float[Array, "C N"], kernel: BlockKernel, *, rate: float, steps: int, m: int, C: int
) -> Float[Array, "T C N"]:
    r"""Residuals of gradient descent in function space, $R^{t+1} = R^t (I - \eta\,\Theta)$.

    Args:
        R: C × N residual at step 0; row k is that of output neuron k.
        kernel: the kernel $\Theta_{kk}$, the same for every output.
        rate: the step size η.
        steps: number of steps.
        m: samples per class.
        C: number of classes.

    Returns:
        The residuals at steps 0 … `steps`, time first.

    Raises:
        ValueError: if R does not have mC columns.

    Source: P2, (8)–(9).
    """
    if R.shape[1] != m * C:
        raise ValueError(f"R has {R.shape[1]} columns, {m * C} needed for m = {m}, C = {C}")

    def step(R, _):
        return R - rate * kernel.times(R, m, C), R

    return jax.lax.scan(step, R, length=steps + 1)[1]


def contraction_factors(
    kernel: BlockKernel, *, rate: float, m: int, C: int
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    r"""What one step multiplies the global, class and sample parts by: $1-\eta\lambda$.

    Source: P2, (10), (13)–(15).
    """
    single, class_, global_ = kernel.eigenvalues(m, C)
    return 1 - rate * global_, 1 - rate * class_, 1 - rate * single
