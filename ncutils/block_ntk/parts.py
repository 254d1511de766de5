r"""Class means and within-class part: of features and their flow, of residuals and their rates."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import scipy.linalg
from jaxtyping import Array, Float

from ncutils.block_ntk.integrate import Outcome, check_times, integrate
from ncutils.block_ntk.kernels import BlockKernel, ClassKernel, class_sizes, class_sums, spread
from ncutils.linalg import check_finite


def within_basis(m: int) -> Float[Array, "m p"]:
    r"""Orthonormal columns orthogonal to $\mathbf 1_m$: the Helmert matrix without its mean.

    Source: P2, (22), $\tilde Q_2$; the released code takes another such basis.
    """
    return jnp.asarray(scipy.linalg.helmert(m).T)


def label_bases(m: int | Sequence[int], C: int) -> tuple[Float[Array, "N C"], Float[Array, "N D"]]:
    r"""The bases $Q_1$ (constant on classes) and $Q_2$ (zero sum on each class).

    $$Q_1 = \tfrac1{\sqrt m} I_C \otimes \mathbf 1_m, \qquad Q_2 = I_C \otimes \tilde Q_2 .$$

    Source: P2, (21)–(22); for unequal classes column c of $Q_1$ has $1/\sqrt{m_c}$.
    """
    sizes = class_sizes(m, C)
    weights = jnp.asarray(sizes, dtype=float)[:, None] ** -0.5
    return (
        spread((weights * jnp.eye(C)), sizes).T,
        jax.scipy.linalg.block_diag(*(within_basis(s) for s in sizes)),
    )


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


class ReducedTrajectory(Outcome):
    """States of the reduced flow (25) at the asked times, time first."""

    W: Float[Array, "*batch T C n"]
    H1: Float[Array, "*batch T n C"]
    H2: Float[Array, "*batch T n D"]
    b: Float[Array, "*batch T C"]


def reduced_velocity(state, kernel: ClassKernel, sizes: tuple[int, ...]):
    r"""The right-hand side of (25) at `state = (W, H1, H2, b)`, for any class sizes.

    With $R_1 = WH_1 + b\mathbf 1_C^\top - I_C$ and $D = \operatorname{diag}(m_c)$,
    $$\dot W = -R_1 D H_1^\top - W \sum_c m_c H_2^{(c)} H_2^{(c)\top},\quad
      \dot H_1 = -W^\top R_1 (\operatorname{diag}\mu + D B),\quad
      \dot H_2^{(c)} = -\mu_c W^\top W H_2^{(c)},\quad \dot b = -R_1 D \mathbf 1_C.$$

    Source: P2, Theorem 5.1, (25) for equal classes, where
        $\operatorname{diag}\mu + DB = \mu_{class} I + \kappa_n m \mathbf{11}^\top$;
        unequal classes and class-dependent values are ours.
    """
    W, H1, H2, b = state
    C = len(sizes)
    single, between = kernel.class_values(C)
    counts = jnp.asarray(sizes, dtype=H1.dtype)
    inside = tuple(s - 1 for s in sizes)
    R1 = W @ H1 + b[:, None] - jnp.eye(C, dtype=H1.dtype)
    weighted = R1 * counts[None, :]
    WH2 = W @ H2
    dW = -weighted @ H1.T - (WH2 * spread(counts[None, :], inside)) @ H2.T
    dH1 = -W.T @ (R1 * single[None, :] + weighted @ between)
    dH2 = -W.T @ (WH2 * spread(single[None, :], inside))
    return dW, dH1, dH2, -weighted.sum(axis=1)


def reduced_flow(
    W: Float[Array, "C n"],
    H1: Float[Array, "n C"],
    H2: Float[Array, "n D"],
    b: Float[Array, " C"],
    kernel: ClassKernel,
    *,
    m: int | Sequence[int],
    C: int,
    ts: Float[Array, " T"],
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 100_000,
) -> ReducedTrajectory:
    """The same flow in class means and within-class part, (25).

    Arguments as for `flow`, with `(H1, H2) = decompose(H)`.

    Raises:
        ValueError: as for `flow`.

    Source: P2, Theorem 5.1, (25); see `reduced_velocity` for unequal classes.
    """
    sizes = class_sizes(m, C)
    if H1.shape[1] != C or H2.shape[1] != sum(sizes) - C:
        raise ValueError(
            f"H1 and H2 must have C = {C} and N - C = {sum(sizes) - C} columns; "
            f"got {H1.shape[1]} and {H2.shape[1]}"
        )
    for name, array in (("W", W), ("H1", H1), ("H2", H2), ("b", b)):
        check_finite(name, array)
    options = (rtol, atol, max_steps)
    return _reduced_flow((W, H1, H2, b), kernel, sizes, check_times(ts), options)


@eqx.filter_jit
def _reduced_flow(state, kernel, sizes, ts, options):
    (W, H1, H2, b), outcome = integrate(reduced_velocity, state, (kernel, sizes), ts, options)
    counts = jnp.asarray(sizes, dtype=H1.dtype)
    inside = spread(counts[None, :], tuple(s - 1 for s in sizes))
    R1 = W @ H1 + b[:, :, None] - jnp.eye(len(sizes), dtype=H1.dtype)[None]
    squares = jnp.sum(R1**2 * counts[None, None, :], axis=(1, 2)) + jnp.sum(
        (W @ H2) ** 2 * inside[None], axis=(1, 2)
    )
    return ReducedTrajectory(W=W, H1=H1, H2=H2, b=b, residual=jnp.sqrt(squares), **outcome)


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
