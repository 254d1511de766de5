r"""P1, Section 6: real networks beside the Equations of State, trained and sampled.

Cells: ``trained`` is the network of Fig. 5, on the draws of `equations_of_state`;
``sampled`` is the referee: networks drawn from the posterior that the equations are about,
beside the equations, their variants with another sign or power of σ in the source term,
and the mean field in which the law of the weights is free to take any shape.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from ncutils import eos, kernels, metrics, models, training
from ncutils.eos import posterior
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._mean_field import (
    VARIANTS,
    altered_covariance,
    gradient_errors,
    mean_field,
)
from ncutils.experiments.kothapalli2025.equations_of_state import make
from ncutils.records import workspace

CELLS = ("trained", "sampled")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of a cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat; sampling uses the first.
        totals, dims, widths: N, d₀, d₁ of the trained networks.
        epochs: of training, at step 1e-3 and weight decay 1e-6 as published.
        points: (N, d₀, d₁) of the sampled networks.
        noise: σ² of the sampled networks.
        chains, burn_in, keep, leapfrog: as in `langevin.sample`.
        ladder: d₁ at which equations and mean field are compared.
    """

    cell: str
    seeds: tuple[int, ...] = (0,)
    totals: tuple[int, ...] = ()
    dims: tuple[int, ...] = ()
    widths: tuple[int, ...] = (500,)
    epochs: int = 0
    points: tuple[tuple[int, int, int], ...] = ()
    noise: float = 1e-2
    chains: int = 4
    burn_in: int = 200
    keep: int = 500
    leapfrog: int = 12
    ladder: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200, 6400)

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration at a scale.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        if cell not in CELLS:
            raise ValueError(f"no cell {cell!r}: choose one of {', '.join(CELLS)}")
        index = workspace.SCALES.index(workspace.check_scale(scale))
        if cell == "trained":
            dims = (8, 16, 32, 64, 128) if index else (2, 8)
            totals = ((32,), (128,), (128, 256, 512, 1024))[index]
            seeds = tuple(range((2, 3, 10)[index]))
            return cls(cell, seeds, totals, dims, epochs=1000 if index else 5)
        if not index:
            return cls(cell, points=((16, 2, 50),), burn_in=60, keep=60, chains=2, leapfrog=4)
        points = ((32, 2, 50), (32, 2, 200), (32, 8, 200))
        if index == 1:
            return cls(cell, points=points)
        more = ((32, 2, 800), (64, 2, 200), (64, 8, 500), (64, 32, 500))
        return cls(cell, points=points + more, chains=16, burn_in=1000, keep=4000)


def _trained(config: Config) -> xr.Dataset:
    """log10 NC1 and accuracy of trained erf networks, on the draws of ``figure5``."""
    shape = (len(config.totals), len(config.dims), len(config.seeds))
    found = {"network": np.empty(shape), "accuracy": np.empty(shape)}
    recipe = training.Recipe(1e-3, config.epochs, weight_decay=1e-6)
    for i, total in enumerate(config.totals):
        for j, dim in enumerate(config.dims):
            X, y, t = make("std 2", total=total, dim=dim, pad=dim, seeds=config.seeds)
            X, T = X.astype("float32"), jnp.broadcast_to(t, X.shape[:2])[..., None]
            sizes = (dim, round(config.widths[-1]), 1)

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
                progress=f"N={total} d0={dim}",
            )
            for name, values in found.items():
                values[i, j] = np.asarray(fitted.records[name])[-1]
    dims = ("N", "d0", "repeat")
    axes = (config.totals, config.dims, config.seeds)
    coords = {dim: list(axis) for dim, axis in zip(dims, axes, strict=True)}
    return xr.Dataset({name: (dims, values) for name, values in found.items()}, coords)


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


def _sample(config: Config, N: int, d: int, width: int) -> dict[str, np.ndarray | float]:
    """One sampled setting beside every theory of it."""
    X, labels, y = make("D1", total=N, dim=d, pad=d, seeds=config.seeds[:1])
    X, single, noise = X[0], jnp.float32, config.noise
    net = posterior.Network(X.astype(single), y.astype(single), noise)
    start_key, run_key, gauss_key = jax.random.split(jax.random.key(config.seeds[0] + 1), 3)
    start = posterior.prior_weights(net, width=width, chains=config.chains, key=start_key)
    found = posterior.sample(
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
    spikes = jnp.sum(found.values["sigma"], axis=(2, 3))
    row = {"acceptance": float(found.acceptance.mean())}
    for name, values in (("spike", spikes), ("nc1", found.values["nc1"])):
        # both cuts of the chains, so that slow modes are not missed
        cuts = [posterior.mean_and_error(values, batches=number) for number in (10, 2)]
        row[name], row[f"{name}_error"] = float(values.mean()), float(max(e for _, e in cuts))
    sigma = np.asarray(found.values["sigma"].mean(axis=(0, 1)))
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


def _ladder(config: Config) -> xr.Dataset:
    """Equations and mean field at growing width, on the draw of the first sampled point."""
    N = config.points[0][0]
    X, labels, y = make("D1", total=N, dim=2, pad=2, seeds=config.seeds[:1])
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


def _sampled(config: Config) -> xr.Dataset:
    rows = [_sample(config, *point) for point in tqdm(config.points, desc="sampling")]
    table = {name: ("point", np.array([row[name] for row in rows])) for name in rows[0]}
    for name, column in zip(("N", "d0", "d1"), zip(*config.points, strict=True), strict=True):
        table[name] = ("point", np.array(column))
    errors = gradient_errors(jax.random.key(11))
    ds = xr.Dataset(table | {"gradient_error": (("sign", "direction"), errors)})
    return ds.assign_coords(sign=["minus", "plus"]).merge(_ladder(config))


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        ``trained``: log10 NC1 for (N, d0, repeat). ``sampled``: NC1 itself, and spikes
        d₀ uᵀΣu, for each point, with standard errors.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    if config.cell == "trained":
        return _trained(config)
    # one rounding error can turn an accepted step into a refused one, and all that follows
    return _sampled(config).assign_attrs(reference_rtol=0.2)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("trained", "smoke"),
    quick=Config.at("trained", "quick"),
    paper=Config.at("trained", "paper"),
)
def trained(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("sampled", "smoke"),
    quick=Config.at("sampled", "quick"),
    paper=Config.at("sampled", "paper"),
)
def sampled(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
