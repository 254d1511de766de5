r"""Gradient flow under a block-structured kernel, and what it conserves.

Features are the columns of H (n × N), sorted by class; W is C × n, b has C
entries, and the residual is $R = WH + b\mathbf 1_N^\top - Y$. `m` is the number
of samples per class: one integer when the classes are equal, C integers when
they are not. No N × N matrix is formed for a kernel that has structure.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ncutils.block_ntk.integrate import Outcome, check_times, integrate
from ncutils.block_ntk.kernels import (
    BlockKernel,
    ClassKernel,
    FeatureKernel,
    SharedKernel,
    class_sizes,
    sorted_class_sizes,
    spread,
)
from ncutils.linalg import check_finite

__all__ = [
    "BlockKernel",
    "ClassKernel",
    "FeatureKernel",
    "SharedKernel",
    "Trajectory",
    "final_invariant",
    "flow",
    "invariant",
    "many_flows",
    "sorted_class_sizes",
    "velocity",
]


def invariant(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    kernel: SharedKernel,
    *,
    m: int | Sequence[int],
    C: int,
) -> Float[Array, "n n"]:
    r"""What the flow conserves: $E = \frac1{\bar m}(W^\top W - H K^{-1} H^\top)$.

    With equal classes and three kernel values this is
    $$E = \tfrac1m W^\top W - \tfrac1{\mu_{class}} H_1 (I - \alpha \mathbf{11}^\top) H_1^\top
        - \tfrac1{\mu_{single}} H_2 H_2^\top .$$

    Args:
        W: C × n classifier.
        H: n × N features, columns sorted by class.
        kernel: the feature kernel $\Theta^h$, shared by the neurons.
        m: samples per class; $\bar m = N/C$.
        C: number of classes.

    Returns:
        The symmetric n × n matrix E.

    Raises:
        ValueError: if shapes disagree with m and C, or the kernel is singular.

    Source: P2, (26). The released code's quantity is m E. The form with
        $K^{-1}$, and with it unequal classes and any fixed K, is ours.
    """
    sizes = check_state(W, H, jnp.zeros(C), m=m, C=C)
    return (W.T @ W - H @ kernel.solve(H, m, C).T) * (C / sum(sizes))


def final_invariant(
    W: Float[Array, "C n"], H: Float[Array, "n N"], kernel: BlockKernel
) -> Float[Array, "n n"]:
    r"""What is conserved once the class-mean residuals are gone.

    $$W^\top W - \tfrac1{\mu_{single}} H H^\top.$$

    Source: P2, (27).
    """
    return W.T @ W - H @ H.T / (kernel.diag - kernel.within)


class Trajectory(Outcome):
    """States of the flow (19) at the asked times, time first."""

    W: Float[Array, "*batch T C n"]
    H: Float[Array, "*batch T n N"]
    b: Float[Array, "*batch T C"]


def residual(
    W: Float[Array, "C n"], H: Float[Array, "n N"], b: Float[Array, " C"], sizes: tuple[int, ...]
) -> Float[Array, "C N"]:
    r"""$R = WH + b\mathbf 1_N^\top - Y$, with Y the indicator of sorted labels: P2, (16)."""
    return W @ H + b[:, None] - spread(jnp.eye(len(sizes), dtype=H.dtype), sizes)


def velocity(state, kernel: FeatureKernel, sizes: tuple[int, ...]):
    r"""The right-hand side of (19) at `state = (W, H, b)`.

    $$\dot W = -R H^\top,\qquad \dot H = -W^\top R K,\qquad \dot b = -R \mathbf 1_N,$$
    where for a block kernel
    $RK = (\kappa_d-\kappa_c)R + (\kappa_c-\kappa_n) m R_{class} + \kappa_n N R_{global}$.

    Source: P2, Theorem 4.1, (19).
    """
    W, H, b = state
    R = residual(W, H, b, sizes)
    return -R @ H.T, -kernel.pull(W, R, sizes), -R.sum(axis=1)


def flow(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    b: Float[Array, " C"],
    kernel: FeatureKernel,
    *,
    m: int | Sequence[int],
    C: int,
    ts: Float[Array, " T"],
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 100_000,
) -> Trajectory:
    r"""Gradient flow of the squared error with a feature kernel, (19).

    Embedded Runge–Kutta (Tsit5) with step-size control; one step costs O(CnN)
    for kernels with structure.

    Args:
        W: C × n classifier at `ts[0]`.
        H: n × N features at `ts[0]`, columns sorted by class.
        b: C biases at `ts[0]`.
        kernel: the feature kernel $\Theta^h$.
        m: samples per class, one integer or C integers.
        C: number of classes.
        ts: T >= 2 increasing times at which to keep the state.
        rtol: relative tolerance of a step. atol: absolute tolerance of a step.
        max_steps: steps allowed before giving up.

    Returns:
        The trajectory. A failure is reported in `.completed` and `.message`.

    Raises:
        ValueError: if shapes disagree with m and C, times do not increase, or
            the state or its velocity is not finite.

    Source: P2, Theorem 4.1, (19).
    """
    sizes = check_state(W, H, b, m=m, C=C)
    ts = check_times(ts)
    if not all(bool(jnp.all(jnp.isfinite(v))) for v in velocity((W, H, b), kernel, sizes)):
        raise ValueError("the velocity at the initial state overflows: it is too large")
    return _flow((W, H, b), kernel, sizes, ts, (rtol, atol, max_steps))


def many_flows(
    W: Float[Array, "_ C n"],
    H: Float[Array, "_ n N"],
    b: Float[Array, "_ C"],
    kernel: FeatureKernel,
    *,
    m: int | Sequence[int],
    C: int,
    ts: Float[Array, " T"],
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_steps: int = 100_000,
) -> Trajectory:
    """The flow from S initial states at once; arguments as for `flow`, states first.

    Each trajectory keeps its own step size, so the answer is that of a loop.
    """
    if not W.shape[0] == H.shape[0] == b.shape[0] >= 1:
        raise ValueError(
            f"W, H and b must hold equally many states; got shapes {W.shape}, {H.shape}, {b.shape}"
        )
    sizes = check_state(W[0], H[0], b[0], m=m, C=C)
    for name, array in (("W", W), ("H", H), ("b", b)):
        check_finite(name, array)
    return _many_flows((W, H, b), kernel, sizes, check_times(ts), (rtol, atol, max_steps))


def _trajectory(state, kernel, sizes, ts, options):
    (W, H, b), outcome = integrate(velocity, state, (kernel, sizes), ts, options)
    R = jax.vmap(lambda *y: residual(*y, sizes))(W, H, b)
    return Trajectory(W=W, H=H, b=b, residual=jnp.linalg.norm(R, axis=(1, 2)), **outcome)


@eqx.filter_jit
def _flow(state, kernel, sizes, ts, options):
    return _trajectory(state, kernel, sizes, ts, options)


@eqx.filter_jit
def _many_flows(states, kernel, sizes, ts, options):
    return jax.vmap(lambda *y: _trajectory(y, kernel, sizes, ts, options))(*states)


def check_state(W, H, b, *, m: int | Sequence[int], C: int) -> tuple[int, ...]:
    """The class sizes, after checking that the state fits them.

    Raises:
        ValueError: naming the shapes, or the entries that are not finite.
    """
    sizes = class_sizes(m, C)
    if H.shape[1] != sum(sizes):
        raise ValueError(
            f"H has {H.shape[1]} columns, but m = {m} and C = {C} ask for {sum(sizes)}"
        )
    if W.shape != (C, H.shape[0]) or b.shape != (C,):
        raise ValueError(
            f"W must be {(C, H.shape[0])} and b {(C,)} for H of shape {H.shape}; "
            f"got {W.shape} and {b.shape}"
        )
    for name, array in (("W", W), ("H", H), ("b", b)):
        check_finite(name, array)
    return sizes
