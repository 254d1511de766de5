r"""Arcsine and arccosine that the compiler can vectorise.

On CPU, XLA turns `jnp.arcsin` into a call of atan2 for each entry: about 20 ns, while the
rest of a kernel entry costs 2 ns. Written as polynomial and square root, the same function
runs through the vector unit, which makes the arc-sine and arc-cosine kernels as fast as
memory allows (`benchmarks/bench_kernels.py`).

For $|x| \le \frac12$ put $z = x^2 \in [0, \frac14]$ and $\arcsin x = x + x z\, p(z)$, with
p the interpolant of $(\arcsin(\sqrt z)/\sqrt z - 1)/z$ at Chebyshev points: that function is
analytic up to $z = 1$, so the error falls by a factor near 14 with each point. Other
arguments are reduced by $\arcsin x = \frac\pi2 - 2 \arcsin\sqrt{(1 - x)/2}$.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def _series(z, terms: int = 40):
    """(arcsin(√z)/√z - 1)/z by its Taylor series, to the last digit for z ≤ 1/4."""
    total, term = np.zeros_like(z), np.ones_like(z)
    for k in range(1, terms):
        term = term * ((2 * k - 1) / (2 * k)) * (z if k > 1 else 1.0)
        total += term / (2 * k + 1)
    return total


def _interpolant(points: int) -> list[float]:
    """Coefficients of p, lowest first."""
    chebyshev = np.polynomial.Chebyshev.interpolate(_series, points - 1, domain=[0.0, 0.25])
    return [float(c) for c in chebyshev.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef]


_P = _interpolant(13)  # 14^-13 is 1e-15, and p enters with a weight below 1/20


def _small(x):
    """Arcsine of |x| ≤ 1/2."""
    z = x * x
    p = jnp.full_like(z, _P[-1])
    for c in _P[-2::-1]:
        p = p * z + c
    return x + x * (z * p)


def _reduced(x):
    """(whether |x| > 1/2, arcsine of the reduced argument)."""
    size = jnp.abs(x)
    large = size > 0.5
    return large, _small(jnp.where(large, jnp.sqrt(0.5 * (1 - size)), size))


@jax.custom_jvp
def arcsin(x):
    r"""Arcsine of real x, entry by entry; NaN outside [-1, 1].

    Args:
        x: array of any shape, floating point.

    Returns:
        Angles in radians, within four units in the last place of the true value. The
        derivative is $1/\sqrt{1 - x^2}$, infinite at $x = \pm 1$.
    """
    large, small = _reduced(x)
    return jnp.copysign(jnp.where(large, math.pi / 2 - 2 * small, small), x)


@jax.custom_jvp
def arccos(x):
    r"""Arccosine of real x, entry by entry; NaN outside [-1, 1].

    Args, Returns: as for `arcsin`; accurate for small angles too, where
    $\frac\pi2 - \arcsin x$ would cancel.
    """
    large, small = _reduced(x)
    near_one = jnp.where(x > 0, 2 * small, math.pi - 2 * small)
    return jnp.where(large, near_one, math.pi / 2 - jnp.copysign(small, x))


@arcsin.defjvp
def _arcsin_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return arcsin(x), dx / jnp.sqrt((1 - x) * (1 + x))


@arccos.defjvp
def _arccos_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return arccos(x), -dx / jnp.sqrt((1 - x) * (1 + x))
