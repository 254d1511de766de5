r"""P1, Section 6: real networks beside the Equations of State, trained and sampled.

``trained`` is the network of Fig. 5, on the draws of `equations_of_state`; ``sampled`` is the
referee: networks drawn from the posterior that the equations are about, beside the
equations, their variants with another sign or power of σ in the source term, and the mean
field in which the law of the weights is free to take any shape.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import eos, kernels, metrics, models, training
from ncutils.eos import posterior
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._rivals import (
    VARIANTS,
    altered_covariance,
    gradient_errors,
    mean_field,
)
from ncutils.experiments.kothapalli2025.equations_of_state import make
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
