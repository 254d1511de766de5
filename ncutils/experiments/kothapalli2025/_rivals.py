r"""Rivals of the Equations of State: other source terms, and weights of any law.

The source term is $A = (Q + \sigma^2 I)^{-1} - c\,tt^\top$ with c = 1. In terms of the residual
$y - \bar f = \sigma^2 t$ another sign or power of σ is another c, `VARIANTS`; all of them are
stationary points of the free energy with its data term times c. `mean_field` gives up the
Gaussian form of the weights.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import scipy.optimize
from jaxtyping import Array, Float

from ncutils import eos
from ncutils.experiments.kothapalli2025.equations_of_state import make
from ncutils.kernels import erf

READOUT_VAR = 1 / 128
#: factor c on the label term, A = (Q + σ²I)⁻¹ - c t tᵀ, as a function of σ²
VARIANTS = {
    "theory": lambda _: 1.0,
    "wrong sign": lambda _: -1.0,
    "power -2": lambda noise: noise,
    "power 2": lambda noise: noise**3,
}


def altered_free_energy(root, X, y, factor, width, noise) -> Float[Array, ""]:
    r"""F/d₁ of `eos` with the label term times `factor`, at $\Sigma = \tfrac{1}{d_0} R R^\top$."""
    n, d = X.shape
    noisy = erf.gram(root / jnp.sqrt(d), X, READOUT_VAR).kernel + noise * jnp.eye(n)
    factored = jnp.linalg.cholesky(noisy)
    half = jax.scipy.linalg.solve_triangular(factored, y, lower=True)
    data = 0.5 * factor * half @ half + jnp.sum(jnp.log(jnp.diagonal(factored)))
    return 0.5 * jnp.sum(root**2) - jnp.linalg.slogdet(root)[1] + data / width


_altered = jax.jit(jax.value_and_grad(altered_free_energy))


def altered_covariance(X, y, *, variant: str, width: float, noise: float) -> np.ndarray:
    """Σ at the stationary point of `altered_free_energy` next to infinite width (BFGS)."""
    d = X.shape[1]
    factor = VARIANTS[variant](noise)

    def value(flat):
        energy, slope = _altered(jnp.asarray(flat.reshape(d, d)), X, y, factor, width, noise)
        return float(energy), np.asarray(slope).ravel()

    root = scipy.optimize.minimize(value, np.eye(d).ravel(), jac=True, method="BFGS").x
    return root.reshape(d, d) @ root.reshape(d, d).T / d


def _sources(sigma, X, y, width, noise):
    """Gradient of F by Σ: from central differences, the closed form, and with a wrong sign."""
    n, d = X.shape
    Q = erf.kernel(sigma, X)
    inverse = jnp.linalg.inv(Q + noise * jnp.eye(n))
    t = inverse @ y
    gradients = []
    for sign in (-1.0, 1.0):
        A = inverse + sign * t[:, None] * t[None, :]
        G = erf.trace_gradient(A, sigma, X)
        gradients.append(0.5 * width * (d * jnp.eye(d) - jnp.linalg.inv(sigma)) + 0.5 * G)
    return gradients


def gradient_errors(key, *, count: int = 5) -> Float[np.ndarray, "2 count"]:
    r"""Free energy by central differences against $\tfrac{d_1}2(\Sigma_{new}^{-1} - \Sigma^{-1})$.

    Returns:
        Relative errors along random directions at random Σ, D1 with N = 32 and d₀ = 3; in
        the second row with the wrong sign in the source term.
    """
    X, _, y = make("D1", total=32, dim=3, pad=3, seeds=(0,))
    X, errors, settings = X[0], [], {"width": 200.0, "noise_var": 1e-2}
    for one in jax.random.split(key, count):
        a, b = jax.random.normal(one, (2, 3, 3))
        sigma, step = (jnp.eye(3) + 0.1 * (a @ a.T)) / 3, (b + b.T) / 30
        size = 1e-4
        up, down = (eos.free_energy(sigma + s * step, X, y, **settings) for s in (size, -size))
        slope = (up - down) / (2 * size)
        errors.append(
            [
                abs(float(jnp.sum(G * step) / slope - 1))
                for G in _sources(sigma, X, y, settings["width"], settings["noise_var"])
            ]
        )
    return np.array(errors).T


@partial(jax.jit, static_argnames="nodes")
def mean_field(X: Float[Array, "n d"], y: Float[Array, " n"], width, noise, *, nodes: int = 100):
    r"""The best product law of the weights, of any shape, by quadrature in the plane.

    $$q(w) \propto \exp\Big[-\tfrac{d_0}{2}\lVert w \rVert^2
      - \tfrac{\sigma_a^2}{2 d_1}\phi(w)^\top A\,\phi(w)\Big], \qquad
      Q = \sigma_a^2\,\mathbb E_q[\phi\phi^\top], \quad A = (Q + \sigma^2 I)^{-1} - tt^\top .$$

    Args:
        X, y: n × 2 inputs and n targets.
        width, noise: d₁ and σ².
        nodes: points of the grid along an axis, over ± 6 prior standard deviations.

    Returns:
        Second moment of the weights, 2 × 2, kernel, and whether the iteration converged.

    Raises:
        ValueError: for other than two input dimensions.
    """
    if X.shape[1] != 2:
        raise ValueError(f"the quadrature is in the plane; X has {X.shape[1]} columns")
    n = X.shape[0]
    line = jnp.linspace(-6.0, 6.0, nodes)
    V = jnp.stack(jnp.meshgrid(line, line), axis=-1).reshape(-1, 2)
    W = V / jnp.sqrt(2.0)
    phi = jax.lax.erf(W @ X.T)
    prior = -0.5 * jnp.sum(V * V, axis=1)

    def law(Q):
        inverse = jnp.linalg.inv(Q + noise * jnp.eye(n))
        t = inverse @ y
        energy = jnp.sum((phi @ inverse) * phi, axis=1) - (phi @ t) ** 2
        return jax.nn.softmax(prior - 0.5 * READOUT_VAR / width * energy)

    def moment(Q, _):
        return READOUT_VAR * (phi * law(Q)[:, None]).T @ phi

    solver = optx.FixedPointIteration(rtol=1e-9, atol=1e-12, damp=0.5)
    start = READOUT_VAR * (phi * jax.nn.softmax(prior)[:, None]).T @ phi
    solution = optx.fixed_point(moment, solver, start, max_steps=2000, throw=False)
    weights = law(solution.value)
    return (W * weights[:, None]).T @ W, solution.value, solution.result == optx.RESULTS.successful
