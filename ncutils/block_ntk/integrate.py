"""Adaptive integration of an ordinary differential equation, with a report on how it went."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


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


def integrate(field: Callable, state, args, ts, options):
    """Integrate `field`; the kept states, their velocities, and the outcome."""
    rtol, atol, max_steps = options
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda _, y, args: field(y, *args)),
        diffrax.Tsit5(),
        t0=ts[0],
        t1=ts[-1],
        dt0=None,
        y0=state,
        args=args,
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        adjoint=diffrax.ForwardMode(),  # nothing is differentiated; the loop is lighter
        max_steps=max_steps,
        throw=False,
    )
    velocities = jax.vmap(lambda y: field(y, *args))(solution.ys)
    speed = jnp.sqrt(sum(jnp.sum(v**2, axis=range(1, v.ndim)) for v in velocities))
    completed = (solution.result == diffrax.RESULTS.successful) & jnp.all(jnp.isfinite(speed))
    return solution.ys, dict(
        ts=ts, speed=speed, steps=jnp.asarray(solution.stats["num_steps"]), completed=completed
    )
