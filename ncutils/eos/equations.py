r"""Equations of State: the data-aware kernel of a two-layer erf network.

The network $f(x) = \sum_{k=1}^{d_1} a_k\,\mathrm{erf}(w_k \cdot x)$ has prior weights
$w_k \sim \mathcal N(0, \tfrac{\sigma_w^2}{d_0} I)$, $a_k \sim \mathcal N(0,
\tfrac{\sigma_a^2}{d_1})$ and is trained to its posterior under observation noise
$\sigma^2$. Taking the $w_k$ of the posterior as independent Gaussians of covariance
Σ, and the kernel of the width-$d_1$ network as its mean

$$Q_\Sigma(x, x') = \sigma_a^2\,\tfrac2\pi \arcsin
  \frac{2 x^\top\Sigma x'}{\sqrt{(1 + 2 x^\top\Sigma x)(1 + 2 x'^\top\Sigma x')}},$$

leaves a free energy for Σ alone,

$$F(\Sigma) = \tfrac{d_1}{2}\Big[\tfrac{d_0}{\sigma_w^2}\mathrm{Tr}\,\Sigma
  - \log\det\Sigma\Big] + \tfrac12\Big[y^\top(Q_\Sigma + \sigma^2 I)^{-1}y
  + \log\det(Q_\Sigma + \sigma^2 I)\Big],$$

whose stationarity conditions are the Equations of State. With
$t = (Q_\Sigma + \sigma^2 I)^{-1} y = \sigma^{-2}(y - \bar f)$,

$$\Sigma^{-1} = \tfrac{d_0}{\sigma_w^2} I + \tfrac1{d_1} G, \qquad
  G = \frac{\partial}{\partial\Sigma}\mathrm{Tr}[A\,Q_\Sigma]\Big|_A, \qquad
  A = (Q_\Sigma + \sigma^2 I)^{-1} - t\,t^\top .$$

`erf_layer` holds $Q_\Sigma$ and G in closed form.

How it is solved: with $\Sigma = \tfrac{\sigma_w^2}{d_0} M M^\top$ every M gives a
positive definite Σ, and the Hessian of the first bracket at M = I is uniform on the
symmetric matrices. L-BFGS started there (at infinite width) therefore has to learn
only the few directions in which the data pull, and takes about ten evaluations.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int

from ncutils import linalg
from ncutils._fast.cholesky import inverse_from_cholesky
from ncutils.kernels import erf
from ncutils.kernels.erf import kernel

SOURCES = ("theory", "released_code")
# Differences of F/d1 below this are rounding: F adds terms of order N/σ² that cancel
# to order d1, so a line search must not reject a step because of them.
ROUNDING = 1e-10
HISTORY = 40


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EosSolution:
    """A solution of the Equations of State, or the best point of a failed search.

    `residual` is that of `eos.residual`; `steps` counts evaluations of the right-hand
    side. Where `converged` is false the rest is not a solution: mask it.
    """

    sigma: Float[Array, "*batch d d"]
    kernel: Float[Array, "*batch n n"]
    residual: Float[Array, "*batch"]
    steps: Int[Array, "*batch"]
    converged: Bool[Array, "*batch"]


class _Problem(NamedTuple):
    X: Array
    y: Array
    width: Array
    noise_var: Array
    weight_var: Array
    readout_var: Array


@partial(jax.jit, static_argnames="source")
def _data_term(root, p, source):
    """The second bracket of F, halved, and G. One Cholesky factorisation serves both."""
    n = p.X.shape[0]
    gram = erf.gram(root, p.X, p.readout_var)
    factor = jnp.linalg.cholesky(gram.kernel + p.noise_var * jnp.eye(n))
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    # An elementwise product with Q̇ needs every entry of the inverse: no solve avoids it.
    inverse = inverse_from_cholesky(factor)
    t = jax.scipy.linalg.cho_solve((factor, True), p.y)
    if source == "theory":
        energy, A = 0.5 * (p.y @ t + log_det), inverse - t[:, None] * t[None, :]
    else:
        # The public code subtracts f̄ as a column from y as a row: D is N×N, and of rank two.
        # (D Dᵀ)_ik = Σ_j (y_j - f̄_i)(y_j - f̄_k), f̄ = Q t = y - σ² t. Its term has no
        # potential; the log-determinant alone stands in for one.
        f = p.y - p.noise_var * t
        cross = jnp.sum(p.y) * (f[:, None] + f[None, :]) - n * f[:, None] * f[None, :]
        energy, A = 0.5 * log_det, inverse - p.noise_var * (jnp.sum(p.y * p.y) - cross)
    return energy, erf.contract(A, p.X, gram, p.readout_var)


def _evaluate(M, p, source):
    """F/d1, its gradient in M, and the relative residual at Σ = (σw²/d0) M Mᵀ."""
    d = p.X.shape[1]
    energy, G = _data_term(jnp.sqrt(p.weight_var / d) * M, p, source)
    H = jnp.eye(d) + p.weight_var / (d * p.width) * G  # Σ_new = (σw²/d0) H⁻¹
    value = 0.5 * jnp.sum(M * M) - jnp.linalg.slogdet(M)[1] + energy / p.width
    gradient = H @ M - jnp.linalg.inv(M).T
    S = M @ M.T
    gap = jnp.linalg.norm(jnp.linalg.solve(H, H @ S - jnp.eye(d))) / jnp.linalg.norm(S)
    # Beyond a pole of Σ_new the gap is large and harmless; a NaN must not pass as one.
    return value, gradient, jnp.where(jnp.isfinite(gap), gap, jnp.inf)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _objective(M, p, source):
    value, _, gap = _evaluate(M, p, source)
    return value, gap


@_objective.defjvp
def _objective_jvp(source, primals, tangents):
    value, gradient, gap = _evaluate(*primals, source)
    return (value, gap), (jnp.sum(gradient * tangents[0]), jnp.zeros_like(gap))


class _Search(optx.BacktrackingArmijo):
    """Armijo backtracking that forgives an increase of up to `slack`."""

    slack: float = 0.0

    def step(self, first_step, y, y_eval, f_info, f_eval_info, state):
        slack = self.slack * (1 + jnp.abs(f_info.as_min()))
        forgiven = optx.FunctionInfo.Eval(f_eval_info.as_min() - slack)
        return super().step(first_step, y, y_eval, f_info, forgiven, state)


class _Minimiser(optx.LBFGS):
    """L-BFGS that stops on the residual of the Equations of State."""

    tol: Array

    def __init__(self, tol, slack):
        super().__init__(rtol=0.0, atol=0.0, history_length=HISTORY)
        self.search = _Search(slack=slack)
        self.tol = tol

    def terminate(self, _fn, _y, _args, _options, state, _tags):
        done = (state.num_accepted_steps > 0) & (state.aux <= self.tol)
        return done, state.result

    def postprocess(self, _fn, y, _aux, _args, _options, state, _tags, _result):
        return y, state.aux, {}  # `aux` is one step behind `y`


@partial(jax.jit, static_argnames=("source", "max_steps"))
def _solve(p, start, tol, source, max_steps):
    scale = p.weight_var / p.X.shape[1]
    # The Hessian of the first bracket is 2 on symmetric M: in units of √2 it is 1.
    unit = math.sqrt(2.0)
    found = optx.minimise(
        lambda x, p: _objective(x / unit, p, source),
        _Minimiser(tol, ROUNDING if source == "theory" else math.inf),
        unit * jnp.linalg.cholesky(start / scale),
        p,
        has_aux=True,
        max_steps=max_steps,
        throw=False,
    )
    root = jnp.sqrt(scale) / unit * found.value
    Q = erf.gram(root, p.X, p.readout_var).kernel
    steps = jnp.asarray(found.stats["num_steps"])
    return EosSolution(root @ root.T, Q, found.aux, steps, found.aux <= tol)


def _check(X, y, sigma=None):
    """Refuse what has no solution. Traced values cannot be read and pass."""
    if X.ndim != 2 or X.shape[0] < 2 or X.shape[1] < 1:
        raise ValueError(f"X is n × d with at least two rows, not of shape {X.shape}")
    linalg.check_finite("X", X)
    if y.shape != X.shape[:1]:
        raise ValueError(f"y has shape {y.shape}, X has {X.shape[0]} rows")
    linalg.check_finite("y", y)
    if not linalg.is_traced(y) and np.ptp(np.asarray(y)) == 0:
        raise ValueError("the targets are constant: there is nothing to tell apart")
    if sigma is not None:
        if sigma.shape != (X.shape[1],) * 2:
            raise ValueError(f"sigma has shape {sigma.shape}, X has {X.shape[1]} columns")
        linalg.check_finite("sigma", sigma)


def _problem(
    X, y, sigma=None, *, source="theory", width, noise_var=1e-6, weight_var=1.0, readout_var=1 / 128
):
    """Checked arrays and settings; the one place where the settings' defaults stand."""
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}: choose one of {', '.join(SOURCES)}")
    _check(X, y, sigma)
    settings = dict(
        width=width, noise_var=noise_var, weight_var=weight_var, readout_var=readout_var
    )
    for name, value in settings.items():
        if not linalg.is_traced(value) and not value > 0:
            raise ValueError(f"{name} must be positive, not {value}")
    p = _Problem(*(jnp.asarray(value, float) for value in (X, y, *settings.values())))
    if p.X.dtype != jnp.float64:
        raise ValueError("the Equations of State need float64: enable jax_enable_x64 first")
    return p


def free_energy(
    sigma: Float[Array, "d d"], X: Float[Array, "n d"], y: Float[Array, " n"], **settings
) -> Float[Array, ""]:
    r"""Free energy $F(\Sigma)$ of the module's head, whose stationary points are solutions.

    Args, Raises: as for `solve`, with a finite width; `sigma` is d × d, positive definite.

    Returns:
        A scalar, up to a constant that does not depend on Σ. JAX can differentiate it.

    Source: derived; its stationarity is P1 Definition 6.1.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import eos
        >>> X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([-1.0, -1.0, 1.0, 1.0])
        >>> narrow, settings = jnp.eye(1) / 4, {"width": 50.0, "noise_var": 0.01}
        >>> solution = eos.solve(X, y, **settings)
        >>> lowest, other = (eos.free_energy(S, X, y, **settings) for S in (solution.sigma, narrow))
        >>> bool(lowest < other)
        True
    """
    p = _problem(X, y, sigma, **settings)
    n, d = X.shape
    root = jnp.linalg.cholesky(sigma)
    Q = erf.gram(root, p.X, p.readout_var).kernel
    factor = jnp.linalg.cholesky(Q + p.noise_var * jnp.eye(n))
    half = jax.scipy.linalg.solve_triangular(factor, p.y, lower=True)
    prior = d / p.weight_var * jnp.trace(sigma) - 2 * jnp.sum(jnp.log(jnp.diagonal(root)))
    return 0.5 * p.width * prior + 0.5 * half @ half + jnp.sum(jnp.log(jnp.diagonal(factor)))


def right_hand_side(
    sigma: Float[Array, "d d"],
    X: Float[Array, "n d"],
    y: Float[Array, " n"],
    *,
    source: str = "theory",
    **settings,
) -> Float[Array, "d d"]:
    r"""$\Sigma_{\mathrm{new}}(\Sigma) = [\tfrac{d_0}{\sigma_w^2} I + \tfrac1{d_1} G]^{-1}$.

    Args, Raises: as for `solve`; `sigma` is d × d and positive definite.

    Returns:
        d × d, equal to `sigma` exactly at a solution; elsewhere it may be indefinite.

    Source: P1 Definition 6.1.
    """
    p = _problem(X, y, sigma, source=source, **settings)
    G = _data_term(jnp.linalg.cholesky(sigma), p, source)[1]
    return jnp.linalg.inv(X.shape[1] / p.weight_var * jnp.eye(X.shape[1]) + G / p.width)


def residual(
    sigma: Float[Array, "d d"], X: Float[Array, "n d"], y: Float[Array, " n"], **settings
) -> Float[Array, ""]:
    r"""$\lVert\Sigma - \Sigma_{\mathrm{new}}(\Sigma)\rVert_F / \lVert\Sigma\rVert_F$.

    Args, Raises: as for `right_hand_side`.

    Returns:
        A scalar, relative to the size of Σ. P1's released code bounds the largest entry
        of the difference by 5e-4, when the entries of Σ are themselves of order $1/d_0$.

    Source: P1 Definition 6.1.
    """
    gap = sigma - right_hand_side(sigma, X, y, **settings)
    return jnp.linalg.norm(gap) / jnp.linalg.norm(sigma)


def solve(
    X: Float[Array, "n d"],
    y: Float[Array, " n"],
    *,
    width: float,
    noise_var: float = 1e-6,
    weight_var: float = 1.0,
    readout_var: float = 1 / 128,
    source: str = "theory",
    tol: float = 1e-8,
    start: Float[Array, "d d"] | None = None,
    max_steps: int = 500,
) -> EosSolution:
    r"""Solve the Equations of State for the covariance Σ of the first-layer weights.

    $$\Sigma^{-1} = \tfrac{d_0}{\sigma_w^2} I
      + \tfrac1{d_1}\,\tfrac{\partial}{\partial\Sigma}\mathrm{Tr}[A\,Q_\Sigma]\Big|_A.$$

    Args:
        X: n × d inputs.
        y: n float targets, not all equal.
        width: $d_1 > 0$; infinity gives the NNGP kernel.
        noise_var: $\sigma^2$ of the observation noise, in squared units of y.
        weight_var: $\sigma_w^2$; the prior covariance of the weights is $\sigma_w^2/d_0$.
        readout_var: $\sigma_a^2$; the prior variance of a readout weight is $\sigma_a^2/d_1$.
        source: "theory" for $A = (Q + \sigma^2 I)^{-1} - tt^\top$; "released_code" for
            $(Q + \sigma^2 I)^{-1} - \sigma^2 D D^\top$ with $D_{ij} = y_j - \bar f_i$.
        tol: largest relative residual that counts as a solution.
        start: d × d covariance to start from, the prior's if left out. The solution need
            not be unique, and this chooses.
        max_steps: evaluations of the right-hand side after which to give up.

    Returns:
        EosSolution. Maps over leading axes of X and y with `jax.vmap`, but reads no
        values then, and so refuses nothing.

    Raises:
        ValueError: on shapes that do not match, entries that are not finite, constant
            targets, fewer than two rows, a width or variance ≤ 0, an unknown source, or
            a kernel so singular that $Q + \sigma^2 I$ has no Cholesky factor at `start`.

    Source: P1 Definition 6.1. Differs from the released code in the source term, in
        precision (float64, residual 1e-8) and in needing no annealing of the width.

    Example:
        >>> import jax.numpy as jnp
        >>> from ncutils import eos
        >>> X = jnp.array([[-2.0, -1.5], [-1.5, -2.0], [2.0, 1.5], [1.5, 2.0]])
        >>> solution = eos.solve(X, jnp.array([-1.0, -1.0, 1.0, 1.0]), width=500.0, noise_var=0.01)
        >>> bool(solution.converged)
        True
    """
    p = _problem(
        X,
        y,
        start,
        source=source,
        width=width,
        noise_var=noise_var,
        weight_var=weight_var,
        readout_var=readout_var,
    )
    if start is None:
        start = p.weight_var / X.shape[1] * jnp.eye(X.shape[1])
    solution = _solve(p, start, tol, source, max_steps)
    if not linalg.is_traced(solution.residual) and not bool(jnp.isfinite(solution.residual)):
        noisy = kernel(start, X, readout_var=readout_var) + noise_var * jnp.eye(X.shape[0])
        if not bool(jnp.all(jnp.isfinite(jnp.linalg.cholesky(noisy)))):
            raise ValueError(f"Q + σ²I is singular in float64 at noise_var={noise_var}")
    return solution
