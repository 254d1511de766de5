r"""P1, Section 6: real networks beside the Equations of State, trained and sampled.

``trained`` is the network of Fig. 5, on the draws of `equations_of_state`; ``sampled`` is the
referee: networks drawn from the posterior that the equations are about, beside the
equations, their variants with another sign or power of σ in the source term, and the mean
field in which the law of the weights is free to take any shape.

The source term is $A = (Q + \sigma^2 I)^{-1} - c\,tt^\top$ with c = 1. In terms of the residual
$y - \bar f = \sigma^2 t$ another sign or power of σ is another c, `VARIANTS`; all of them are
stationary points of the free energy with its data term times c. `mean_field` gives up the
Gaussian form of the weights.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import scipy.optimize
import xarray as xr
from jaxtyping import Array, Float
from tqdm import tqdm

from ncutils import eos, kernels, metrics, models, training
from ncutils.eos import posterior
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025.equations_of_state import make
from ncutils.kernels import erf
from ncutils.training.checkpoint import forget_parts, part_of


@dataclass(frozen=True)
class Trained:
    """The trained network of Fig. 5.

    Attributes:
        seeds: one for each repeat.
        totals, dims: N and d₀.
        epochs: full-batch steps.
        width: d₁.
        learning_rate, weight_decay: as published.
    """

    seeds: tuple[int, ...]
    totals: tuple[int, ...]
    dims: tuple[int, ...] = (8, 16, 32, 64, 128)
    epochs: int = 1000
    width: int = 500
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6


@case(
    smoke=Trained(seeds=(0, 1), totals=(32,), dims=(2, 8), epochs=5),
    quick=Trained(seeds=(0, 1, 2), totals=(128,)),
    paper=Trained(seeds=tuple(range(10)), totals=(128, 256, 512, 1024)),
)
def trained(config: Trained, *, checkpoint: Path | None = None) -> xr.Dataset:
    """log10 NC1 and accuracy of trained erf networks, on the draws of ``figure5``."""
    shape = (len(config.totals), len(config.dims), len(config.seeds))
    records = {"network": np.empty(shape), "accuracy": np.empty(shape)}
    recipe = training.Recipe(config.learning_rate, config.epochs, weight_decay=config.weight_decay)
    for i, total in enumerate(config.totals):
        for j, dim in enumerate(config.dims):
            X, y, t = make("std 2", total=total, dim=dim, pad=dim, seeds=config.seeds)
            X, T = X.astype("float32"), jnp.broadcast_to(t, X.shape[:2])[..., None]
            sizes = (dim, config.width, 1)

            def build(seed, sizes=sizes):
                key, options = jax.random.key(1000 + seed), {"gains": (1.0, 1.97)}
                return models.mlp(
                    sizes, activation="erf", dtype=jnp.dtype("float32"), key=key, **options
                )

            stack = [build(seed) for seed in config.seeds]
            networks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stack)

            def measure(model, _start, X, targets, y=y):
                H = models.features(model, X).astype(float)
                right = models.logits(model, X) * targets > 0
                return {
                    "network": jnp.log10(metrics.nc1(H, y, num_classes=2)),
                    "accuracy": jnp.mean(right.astype(float)),
                }

            fitted = training.fit_ensemble(
                networks,
                X,
                T.astype("float32"),
                recipe,
                at_once=None if total <= 128 else 1,
                measure=measure,
                record_at=(0, config.epochs),
                checkpoint=part_of(checkpoint, f"{total}-{dim}"),
                checkpoint_every=config.epochs,
                progress=f"N={total} d0={dim}",
            )
            for name, values in records.items():
                values[i, j] = np.asarray(fitted.records[name])[-1]
    forget_parts(checkpoint)
    dims = ("N", "d0", "repeat")
    axes = (config.totals, config.dims, config.seeds)
    coords = {dim: list(axis) for dim, axis in zip(dims, axes, strict=True)}
    return xr.Dataset({name: (dims, values) for name, values in records.items()}, coords)


# --- rivals of the equations ----------------------------------------------------------------

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


# --- sampled networks beside all of them ----------------------------------------------------


@dataclass(frozen=True)
class Sampled:
    """Networks drawn from the posterior.

    Attributes:
        points: (N, d₀, d₁) of the sampled networks.
        chains, burn_in, keep, leapfrog: as in `eos.posterior.sample`.
        seed: of the draws of data and weights.
        noise: σ².
        ladder: d₁ at which equations and mean field are compared.
    """

    points: tuple[tuple[int, int, int], ...]
    chains: int = 4
    burn_in: int = 200
    keep: int = 500
    leapfrog: int = 12
    seed: int = 0
    noise: float = 1e-2
    ladder: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200, 6400)


def _nc1(K, y) -> float:
    return float(metrics.kernel_nc1(K, y, num_classes=2).ratio)


def _spike(sigma) -> float:
    return float(np.asarray(sigma).sum())  # d u^T Σ u with u = 1/√d


def _watch(W, net):
    """Second moment of the weights and NC1 of the kernel; the first half is one class."""
    seen = posterior.observe(W, net)
    y = (jnp.arange(len(net.y)) >= len(net.y) // 2).astype(int)
    return {
        "sigma": seen["sigma"],
        "nc1": metrics.kernel_nc1(seen["kernel"], y, num_classes=2).ratio,
    }


def _gaussian_networks(sigma, net, *, width: int, draws: int, key) -> np.ndarray:
    """NC1 of networks of the same width whose weights are Gaussian with covariance Σ."""
    root = jnp.linalg.cholesky(jnp.asarray(sigma, net.X.dtype))

    def one(key):
        W = jax.random.normal(key, (width, len(sigma)), net.X.dtype) @ root.T
        return _watch(W, net)["nc1"]

    return np.asarray(jax.lax.map(one, jax.random.split(key, draws)))


def _sample(config: Sampled, N: int, d: int, width: int) -> dict[str, np.ndarray | float]:
    """One sampled setting beside every theory of it."""
    X, labels, y = make("D1", total=N, dim=d, pad=d, seeds=(config.seed,))
    X, single, noise = X[0], jnp.float32, config.noise
    net = posterior.Network(X.astype(single), y.astype(single), noise)
    start_key, run_key, gauss_key = jax.random.split(jax.random.key(config.seed + 1), 3)
    start = posterior.prior_weights(net, width=width, chains=config.chains, key=start_key)
    samples = posterior.sample(
        posterior.log_posterior,
        start,
        net,
        watch=_watch,
        step=0.1 / np.sqrt(d),
        burn_in=config.burn_in,
        keep=config.keep,
        leapfrog=config.leapfrog,
        key=run_key,
    )
    spikes = jnp.sum(samples.values["sigma"], axis=(2, 3))
    row = {"acceptance": float(samples.acceptance.mean())}
    for name, values in (("spike", spikes), ("nc1", samples.values["nc1"])):
        # both cuts of the chains, so that slow modes are not missed
        cuts = [posterior.mean_and_error(values, batches=number) for number in (10, 2)]
        row[name], row[f"{name}_error"] = float(values.mean()), float(max(e for _, e in cuts))
    sigma = np.asarray(samples.values["sigma"].mean(axis=(0, 1)))
    draws = min(400, config.chains * config.keep)
    same = _gaussian_networks(sigma, net, width=width, draws=draws, key=gauss_key)
    row["gaussian_nc1"] = float(same.mean())
    row["gaussian_nc1_error"] = float(same.std(ddof=1) / np.sqrt(draws))
    nngp, ntk = kernels.nngp_and_ntk(X, activation="erf")
    row |= {"nngp_nc1": _nc1(nngp, labels), "ntk_nc1": _nc1(ntk, labels)}
    for source in eos.SOURCES:
        solved = eos.solve(X, y, width=float(width), noise_var=noise, source=source)
        row |= {
            f"{source}_spike": _spike(solved.sigma),
            f"{source}_nc1": _nc1(solved.kernel, labels),
        }
        row[f"{source}_converged"] = bool(solved.converged)
    for variant in VARIANTS:
        altered = altered_covariance(X, y, variant=variant, width=float(width), noise=noise)
        row[f"{variant}_bfgs_spike"] = _spike(altered)
    row["mean_field_spike"] = row["mean_field_nc1"] = np.nan
    if d == 2:
        sigma, Q, fine = mean_field(X, y, float(width), noise)
        if bool(fine):
            row["mean_field_spike"], row["mean_field_nc1"] = _spike(sigma), _nc1(Q, labels)
    return row


def _ladder(config: Sampled) -> xr.Dataset:
    """Equations and mean field at growing width, on the draw of the first sampled point."""
    N = config.points[0][0]
    X, labels, y = make("D1", total=N, dim=2, pad=2, seeds=(config.seed,))
    X, rows = X[0], []
    base = _nc1(kernels.nngp(X, activation="erf"), labels)
    for width in map(float, config.ladder):
        solved = eos.solve(X, y, width=width, noise_var=config.noise, tol=1e-10)
        sigma, Q, fine = mean_field(X, y, width, config.noise)
        if not (bool(fine) and bool(solved.converged)):
            rows.append((np.nan,) * 4)
            continue
        rows.append(
            (
                _spike(solved.sigma) - 1,
                _spike(sigma) - 1,
                base - _nc1(solved.kernel, labels),
                base - _nc1(Q, labels),
            )
        )
    names = ("eos_drift", "mean_field_drift", "eos_drop", "mean_field_drop")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    table = {name: ("ladder", np.array(column)) for name, column in columns.items()}
    return xr.Dataset(table, {"ladder": list(config.ladder)})


FEW = ((32, 2, 50), (32, 2, 200), (32, 8, 200))
MORE = ((32, 2, 800), (64, 2, 200), (64, 8, 500), (64, 32, 500))


@case(
    smoke=Sampled(points=((16, 2, 50),), chains=2, burn_in=60, keep=60, leapfrog=4),
    quick=Sampled(points=FEW),
    paper=Sampled(points=FEW + MORE, chains=16, burn_in=1000, keep=4000),
)
def sampled(config: Sampled) -> xr.Dataset:
    """NC1 and spikes d₀ uᵀΣu of networks and theories at each point, with standard errors."""
    rows = [_sample(config, *point) for point in tqdm(config.points, desc="sampling")]
    table = {name: ("point", np.array([row[name] for row in rows])) for name in rows[0]}
    for name, column in zip(("N", "d0", "d1"), zip(*config.points, strict=True), strict=True):
        table[name] = ("point", np.array(column))
    errors = gradient_errors(jax.random.key(11))
    ds = xr.Dataset(table | {"gradient_error": (("sign", "direction"), errors)})
    ds = ds.assign_coords(sign=["minus", "plus"]).merge(_ladder(config))
    # one rounding error can turn an accepted step into a refused one, and all that follows
    return ds.assign_attrs(reference_rtol=0.2)
