r"""Gradient flow under a block-structured kernel, whole and in class means and deviations.

Features are the columns of H (n × N), sorted by class; W is C × n, b has C
entries, and the residual is $R = WH + b\mathbf 1_N^\top - Y$. `m` is the number
of samples per class: one integer when the classes are equal, C integers when
they are not. No N × N matrix is formed for a kernel that has structure.
"""

import dataclasses
from collections.abc import Callable, Sequence

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ncutils.block_ntk.kernels import ClassKernel, FeatureKernel, class_sizes, spread
from ncutils.linalg import check_finite


@dataclasses.dataclass(frozen=True)
class Solver:
    """How exactly a flow is integrated: embedded Runge–Kutta (Tsit5) with step-size control.

    Attributes:
        rtol, atol: relative and absolute tolerance of a step.
        max_steps: steps allowed before giving up.
    """

    rtol: float = 1e-10
    atol: float = 1e-12
    max_steps: int = 100_000


class Outcome(eqx.Module):
    """How an integration went.

    Attributes:
        ts: T times.
        residual: $||R||_F$ at each time, infinite where the solver did not get.
        speed: norm of the velocity at each time.
        steps: steps tried, rejected ones included.
        completed: whether the last time was reached with finite numbers.
    """

    ts: Float[Array, "*batch T"]
    residual: Float[Array, "*batch T"]
    speed: Float[Array, "*batch T"]
    steps: Int[Array, "*batch"]
    completed: Bool[Array, "*batch"]

    def converged(self, tol: float = 1e-8) -> Bool[Array, "*batch"]:
        """Whether the last time was reached and the state stands still to `tol` there."""
        return self.completed & (self.speed[..., -1] <= tol)

    @property
    def message(self) -> str:
        """One line on how it ended; of a batch, the trajectory that got least far."""
        if bool(jnp.all(self.completed)):
            return f"reached t = {float(jnp.max(self.ts)):g}"
        sound = jnp.where(jnp.isfinite(self.residual), self.ts, self.ts[..., :1])
        return (
            f"stopped or blown up after t = {float(jnp.min(jnp.max(sound, axis=-1))):g}, "
            f"{int(jnp.max(self.steps))} steps: the state is too large, or the problem too "
            "stiff, for max_steps"
        )


class Trajectory(Outcome):
    """States of the flow (19) at the asked times, time first."""

    W: Float[Array, "*batch T C n"]
    H: Float[Array, "*batch T n N"]
    b: Float[Array, "*batch T C"]


class ReducedTrajectory(Outcome):
    """States of the reduced flow (25) at the asked times, time first."""

    W: Float[Array, "*batch T C n"]
    H1: Float[Array, "*batch T n C"]
    H2: Float[Array, "*batch T n D"]
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


def flow(
    W: Float[Array, "C n"],
    H: Float[Array, "n N"],
    b: Float[Array, " C"],
    kernel: FeatureKernel,
    *,
    m: int | Sequence[int],
    C: int,
    ts: Float[Array, " T"],
    solver: Solver = Solver(),
) -> Trajectory:
    r"""Gradient flow of the squared error with a feature kernel, (19).

    One step costs O(CnN) for kernels with structure.

    Args:
        W: C × n classifier at `ts[0]`.
        H: n × N features at `ts[0]`, columns sorted by class.
        b: C biases at `ts[0]`.
        kernel: the feature kernel $\Theta^h$.
        m: samples per class, one integer or C integers.
        C: number of classes.
        ts: T >= 2 increasing times at which to keep the state.
        solver: tolerances, and the steps allowed.

    Returns:
        The trajectory. A failure is reported in `.completed` and `.message`.

    Raises:
        ValueError: if shapes disagree with m and C, times do not increase, or
            the state or its velocity is not finite.

    Source: P2, Theorem 4.1, (19).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ncutils import block_ntk
        >>> kernel, classes = block_ntk.BlockKernel(2.0, 1.0, 0.3), {"m": 4, "C": 3}
        >>> start = block_ntk.initial_state(kernel, **classes, n=5, key=jax.random.key(1))
        >>> ts = jnp.array([0.0, 30.0])
        >>> path = block_ntk.flow(start.W, start.H, start.b, kernel, **classes, ts=ts)
        >>> bool(path.completed), bool(path.residual[-1] < 1e-8)
        (True, True)
    """
    sizes = check_state(W, H, b, m=m, C=C)
    ts = check_times(ts)
    if not all(bool(jnp.all(jnp.isfinite(v))) for v in velocity((W, H, b), kernel, sizes)):
        raise ValueError("the velocity at the initial state overflows: it is too large")
    return _flow((W, H, b), kernel, sizes, ts, solver)


def many_flows(
    W: Float[Array, "_ C n"],
    H: Float[Array, "_ n N"],
    b: Float[Array, "_ C"],
    kernel: FeatureKernel,
    *,
    m: int | Sequence[int],
    C: int,
    ts: Float[Array, " T"],
    solver: Solver = Solver(),
) -> Trajectory:
    """The flow from S initial states at once; arguments as for `flow`, states first.

    Each trajectory keeps its own step size, so the answer is that of a loop.
    """
    if not W.shape[0] == H.shape[0] == b.shape[0] >= 1:
        raise ValueError(
            f"W, H and b must hold equally many states; got shapes {W.shape}, {H.shape}, {b.shape}"
        )
    sizes = check_state(W[0], H[0], b[0], m=m, C=C)
    _check_finite(W=W, H=H, b=b)
    return _many_flows((W, H, b), kernel, sizes, check_times(ts), solver)


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
    solver: Solver = Solver(),
) -> ReducedTrajectory:
    """The same flow in class means and within-class part, (25).

    Arguments as for `flow`, with `(H1, H2) = decompose(H)`.

    Raises:
        ValueError: as for `flow`.

    Source: P2, Theorem 5.1, (25); see `reduced_velocity` for unequal classes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ncutils import block_ntk
        >>> kernel = block_ntk.BlockKernel(diag=3.0, within=2.0, across=1.0)
        >>> s = block_ntk.initial_state(kernel, m=3, C=2, n=5, key=jax.random.key(0))
        >>> parts = block_ntk.decompose(s.H, m=3, C=2)
        >>> ts = jnp.array([0.0, 1.0])
        >>> whole = block_ntk.flow(s.W, s.H, s.b, kernel, m=3, C=2, ts=ts)
        >>> small = block_ntk.reduced_flow(s.W, *parts, s.b, kernel, m=3, C=2, ts=ts)
        >>> bool(jnp.allclose(whole.W[-1], small.W[-1], atol=1e-5))
        True
    """
    sizes = class_sizes(m, C)
    if H1.shape[1] != C or H2.shape[1] != sum(sizes) - C:
        raise ValueError(
            f"H1 and H2 must have C = {C} and N - C = {sum(sizes) - C} columns; "
            f"got {H1.shape[1]} and {H2.shape[1]}"
        )
    _check_finite(W=W, H1=H1, H2=H2, b=b)
    return _reduced_flow((W, H1, H2, b), kernel, sizes, check_times(ts), solver)


@eqx.filter_jit
def _reduced_flow(state, kernel, sizes, ts, solver):
    (W, H1, H2, b), outcome = _integrate(reduced_velocity, state, (kernel, sizes), ts, solver)
    counts = jnp.asarray(sizes, dtype=H1.dtype)
    inside = spread(counts[None, :], tuple(s - 1 for s in sizes))
    R1 = W @ H1 + b[:, :, None] - jnp.eye(len(sizes), dtype=H1.dtype)[None]
    squares = jnp.sum(R1**2 * counts[None, None, :], axis=(1, 2)) + jnp.sum(
        (W @ H2) ** 2 * inside[None], axis=(1, 2)
    )
    return ReducedTrajectory(W=W, H1=H1, H2=H2, b=b, residual=jnp.sqrt(squares), **outcome)


def _trajectory(state, kernel, sizes, ts, solver):
    (W, H, b), outcome = _integrate(velocity, state, (kernel, sizes), ts, solver)
    R = jax.vmap(lambda *y: residual(*y, sizes))(W, H, b)
    return Trajectory(W=W, H=H, b=b, residual=jnp.linalg.norm(R, axis=(1, 2)), **outcome)


@eqx.filter_jit
def _flow(state, kernel, sizes, ts, solver):
    return _trajectory(state, kernel, sizes, ts, solver)


@eqx.filter_jit
def _many_flows(states, kernel, sizes, ts, solver):
    return jax.vmap(lambda *y: _trajectory(y, kernel, sizes, ts, solver))(*states)


def check_times(ts) -> Float[Array, " T"]:
    """The times as an array.

    Raises:
        ValueError: unless there are two or more, all finite and increasing.
    """
    times = np.asarray(ts, dtype=float)
    if times.ndim != 1 or times.size < 2 or not np.all(np.isfinite(times)):
        raise ValueError(f"need at least two finite times; got {times}")
    if not np.all(np.diff(times) > 0):
        i = int(np.flatnonzero(np.diff(times) <= 0)[0])
        raise ValueError(f"times must increase; {times[i + 1]} follows {times[i]}")
    return jnp.asarray(times)


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
    _check_finite(W=W, H=H, b=b)
    return sizes


def _check_finite(**arrays) -> None:
    for name, array in arrays.items():
        check_finite(name, array)


def _integrate(field: Callable, state, args, ts, solver: Solver):
    """Integrate `field`; the kept states and the outcome but for its residual."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, y, args: field(y, *args)),
        diffrax.Tsit5(),
        t0=ts[0],
        t1=ts[-1],
        dt0=None,
        y0=state,
        args=args,
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=diffrax.PIDController(rtol=solver.rtol, atol=solver.atol),
        adjoint=diffrax.ForwardMode(),  # nothing is differentiated; the loop is lighter
        max_steps=solver.max_steps,
        throw=False,
    )
    velocities = jax.vmap(lambda y: field(y, *args))(solution.ys)
    speed = jnp.sqrt(sum(jnp.sum(v**2, axis=range(1, v.ndim)) for v in velocities))
    completed = (solution.result == diffrax.RESULTS.successful) & jnp.all(jnp.isfinite(speed))
    return solution.ys, dict(
        ts=ts, speed=speed, steps=jnp.asarray(solution.stats["num_steps"]), completed=completed
    )
