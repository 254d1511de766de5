r"""P1, Section 6: the data-aware kernel of the Equations of State on Gaussian classes.

Cells: ``figure4`` and ``figure5`` are the paper's grids, without the network, which
is in `eos_networks`; ``settings`` varies the width, the noise and the data, deals out the
labels at random, starts the solver elsewhere, and runs the paper's own solver.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import xarray as xr
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from ncutils import eos, kernels, metrics
from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._sweeps import draws
from ncutils.records import workspace

CELLS = ("figure4", "figure5", "settings")
#: name → (means, standard deviation, share of each class, targets)
SETS = {
    "D1": ((-2.0, 2.0), 0.5, (4, 4), (-1.0, 1.0)),
    "std 2": ((-2.0, 2.0), 2.0, (4, 4), (-1.0, 1.0)),
    "imbalanced": ((-2.0, 2.0), 0.5, (1, 7), (-1.0, 1.0)),
    "four classes": ((-6.0, -2.0, 2.0, 6.0), 0.5, (2, 2, 2, 2), (-3.0, -1.0, 1.0, 3.0)),
}
#: widths of the paper's annealing, largest first
ANNEALING = (
    *range(100_000, 10_000, -10_000),
    *range(10_000, 1_000, -1_000),
    *range(1_000, 499, -100),
)


@dataclass(frozen=True)
class Config:
    """What decides the numbers of a cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        totals: N.
        dims: d₀.
        widths: d₁; the last is the one that all cells share.
        noises: σ²; the first is the paper's.
        starts: random starts of the solver.
        tol: largest relative residual that counts as a solution.
    """

    cell: str
    seeds: tuple[int, ...]
    totals: tuple[int, ...]
    dims: tuple[int, ...]
    widths: tuple[float, ...] = (500.0,)
    noises: tuple[float, ...] = (1e-6,)
    starts: int = 0
    tol: float = 1e-8

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration at a scale; "paper" has the paper's sizes and repeats.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        if cell not in CELLS:
            raise ValueError(f"no cell {cell!r}: choose one of {', '.join(CELLS)}")
        index = workspace.SCALES.index(workspace.check_scale(scale))
        seeds = tuple(range((2, 3, 10)[index]))
        totals = (128, 256, 512, 1024) if index else (32,)
        wide = (8, 16, 32, 64, 128) if index else (2, 8)
        if cell == "figure4":
            dims = (1, 2, 8, 32, 128) if index else (1, 8)
            return cls(cell, seeds, totals, dims, (2000.0, 500.0))
        if cell == "figure5":
            return cls(cell, seeds, totals, wide)
        widths = (8000.0, 4000.0, 2000.0, 1000.0, 500.0, 250.0)
        noises = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
        if not index:
            return cls(cell, seeds, (32,), (2, 8), (2000.0, 500.0), (1e-6, 1.0), 1)
        return cls(cell, seeds, ((128,), (1024,))[index - 1], (2, 8, 32), widths, noises, 3)


def make(
    name: str, *, total: int, dim: int, pad: int, seeds: tuple[int, ...]
) -> tuple[Float[Array, "r n pad"], Int[Array, " n"], Float[Array, " n"]]:
    """Inputs (padded as in `_sweeps.draws`), labels and targets of one of `SETS`."""
    means, std, shares, targets = SETS[name]
    sizes = tuple(total * share // sum(shares) for share in shares)
    X, y = draws(seeds, means=means, sizes=sizes, std=std, dim=dim, width=pad)
    return X, y, jnp.asarray(targets)[y]


@partial(jax.jit, static_argnames="num_classes")
def limits(X: Float[Array, "r n d"], y: Int[Array, " n"], *, num_classes: int):
    """log10 NC1 of NNGP kernel and NTK, erf, for each repeat."""

    def one(x):
        found = kernels.class_blocks(x, y, num_classes=num_classes, activation="erf")
        return [jnp.log10(metrics.blocks_nc1(blocks).ratio) for blocks in found]

    return dict(zip(("nngp", "ntk"), jax.lax.map(one, X), strict=True))


def solve_each(X, y, targets, dim, *, config, source, width=None, noise=None, start=None):
    r"""Solve one problem after the other: one compiled program for all of one shape.

    The equations do not see the padding: with $X' = \sqrt{p/d_0}\,(X, 0)$ the covariance of
    the first $d_0$ columns is $\tfrac{d_0}{p}\Sigma$, of the others the prior's.

    Args:
        X, y, targets: r × n × p padded inputs, n labels, r × n or n targets.
        dim: d₀.
        config: its last width, first noise and tolerance.
        source: as in `eos.solve`.
        width, noise: r values each in place of those of `config`.
        start: r × p × p covariances, the prior's if left out.

    Returns:
        name → r values: log10 NC1 of the kernel, NaN where not converged; `spike`,
        $d_0 u^\top\Sigma u$ for the unit vector u along $\mathbf 1$, and `rest`, the mean over
        the other directions (both 1 for the prior); residual, steps, converged; `sigma`.
    """
    r, _, p = X.shape
    targets = np.broadcast_to(targets, X.shape[:2])
    width = np.full(r, config.widths[-1]) if width is None else width
    noise = np.full(r, config.noises[0]) if noise is None else noise
    start = np.broadcast_to(np.eye(p) / p, (r, p, p)) if start is None else start
    inside, rows = np.arange(p) < dim, []
    options = {"source": source, "tol": config.tol, "max_steps": 1000}
    for x, t, units, variance, first in zip(X, targets, width, noise, start, strict=True):
        where = {"width": float(units), "noise_var": float(variance), "start": jnp.asarray(first)}
        found = eos.solve(jnp.asarray(x), jnp.asarray(t), **where, **options)
        row = {name: getattr(found, name) for name in ("residual", "steps", "converged", "sigma")}
        sigma, fine = np.asarray(found.sigma), bool(found.converged)
        nc1 = metrics.kernel_nc1(found.kernel, y, num_classes=int(y.max()) + 1) if fine else None
        row["nc1"] = np.log10(nc1.ratio) if fine else np.nan
        row["spike"] = p / dim * inside @ sigma @ inside
        total = p * np.trace(sigma[:dim, :dim])
        row["rest"] = (total - row["spike"]) / (dim - 1) if dim > 1 else np.nan
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


FIELDS = ("nc1", "spike", "rest", "residual", "steps", "converged")


def _table(shape):
    return {name: np.full(shape, np.nan) for name in FIELDS}


def _grid(config: Config, name: str) -> xr.Dataset:
    r"""Both sources over widths, N, d₀ and repeats, with the limiting kernels.

    `first_gap` is the largest entry of $\Sigma - \Sigma_{new}(\Sigma)$ at the prior's Σ, for the
    last width and the first draw: what the search starts from.
    """
    axes = (config.widths, config.totals, config.dims, config.seeds)
    table = _table((len(eos.SOURCES), *map(len, axes)))
    kernel = {k: np.empty(table["nc1"].shape[2:]) for k in ("nngp", "ntk")}
    points = [(i, j) for i in range(len(config.totals)) for j in range(len(config.dims))]
    gap = np.empty((len(eos.SOURCES), *table["nc1"].shape[2:4]))
    repeats, widths = len(config.seeds), len(config.widths)
    for i, j in tqdm(points, desc=config.cell):
        dim, pad = config.dims[j], max(config.dims)
        X, y, t = make(name, total=config.totals[i], dim=dim, pad=pad, seeds=config.seeds)
        for k, value in limits(X, y, num_classes=int(y.max()) + 1).items():
            kernel[k][i, j] = value
        rows = jnp.tile(X, (widths, 1, 1))
        width = np.repeat(config.widths, repeats)
        for s, source in enumerate(eos.SOURCES):
            found = solve_each(rows, y, t, dim, config=config, source=source, width=width)
            for field, values in table.items():
                values[s, :, i, j] = found[field].reshape(widths, repeats)
            prior = jnp.eye(pad) / pad
            at = {"width": config.widths[-1], "noise_var": config.noises[0], "source": source}
            step = eos.right_hand_side(prior, X[0], t, **at)
            gap[s, i, j] = pad / dim * jnp.abs(prior - step).max()
    dims = ("source", "width", "N", "d0", "repeat")
    return xr.Dataset(
        {f: (dims, v) for f, v in table.items()}
        | {k: (dims[2:], v) for k, v in kernel.items()}
        | {"first_gap": (("source", "N", "d0"), gap)},
        dict(zip(dims, (list(eos.SOURCES), *map(list, axes)), strict=True)),
    )


def published_recipe(X, targets, *, config: Config) -> float:
    r"""The paper's solver on the textbook equations in float64: last relative residual.

    `scipy.optimize.newton_krylov` at each width of `ANNEALING`, largest entry of the
    residual 5e-4. NaN where it gives up: no convergence, or a Σ that is not positive.
    """
    sigma = np.eye(X.shape[1]) / X.shape[1]
    step = jax.jit(lambda s, w: eos.right_hand_side(s, X, targets, width=w))
    try:
        for width in (w for w in ANNEALING if w >= config.widths[-1]):
            with np.errstate(all="ignore"):
                sigma = scipy.optimize.newton_krylov(
                    lambda s, w=width: s - np.asarray(step(0.5 * (s + s.T), float(w))),
                    sigma,
                    f_tol=5e-4,
                    maxiter=100,
                    inner_maxiter=100,
                )
    except (scipy.optimize.NoConvergence, ValueError):
        return float("nan")
    return float(eos.residual(jnp.asarray(sigma), X, targets, width=config.widths[-1]))


def _sets(config: Config) -> xr.Dataset:
    """All of `SETS` and D1 with dealt-out labels; other starts; the paper's solver."""
    names = (*SETS, "D1, labels dealt out")
    total, pad, seeds = config.totals[-1], max(config.dims), config.seeds
    table = _table((2, len(names), len(config.dims), len(seeds)))
    nngp = np.empty(table["nc1"].shape[1:])
    apart = np.full((len(names), len(config.dims), config.starts), np.nan)
    recipe = np.full((len(names), len(config.dims)), np.nan)
    keys = jax.random.split(jax.random.key(7), config.starts)
    for i, name in enumerate(tqdm(names, desc="sets")):
        for j, dim in enumerate(config.dims):
            label = name.split(",")[0]
            X, y, t = make(label, total=total, dim=dim, pad=pad, seeds=seeds)
            t = jnp.broadcast_to(t, X.shape[:2])
            if label != name:
                deal = jax.vmap(lambda seed, row: jax.random.permutation(jax.random.key(seed), row))
                t = deal(jnp.asarray(seeds) + 500, t)
            nngp[i, j] = limits(X, y, num_classes=int(y.max()) + 1)["nngp"]
            for s, source in enumerate(eos.SOURCES):
                found = solve_each(X, y, t, dim, config=config, source=source)
                for field, values in table.items():
                    values[s, i, j] = found[field]
                if source == "theory":
                    own = found["sigma"][0]
            roots = [jnp.eye(pad) + jax.random.normal(k, (pad, pad)) for k in keys]
            start = jnp.stack([R @ R.T / pad**2 for R in roots])
            rows = jnp.tile(X[:1], (config.starts, 1, 1))
            again = {"config": config, "source": "theory", "start": start}
            other = solve_each(rows, y, t[:1], dim, **again)
            away = np.linalg.norm(other["sigma"] - own, axis=(1, 2)) / np.linalg.norm(own)
            apart[i, j] = np.where(other["converged"], away, np.nan)
            if dim == 8:  # the recipe takes hundreds of evaluations
                inputs = X[0, :, :dim] * np.sqrt(dim / pad)
                recipe[i, j] = published_recipe(inputs, t[0], config=config)
    dims = ("source", "set", "d0", "repeat")
    return xr.Dataset(
        {f"set_{f}": (dims, v) for f, v in table.items()}
        | {
            "set_nngp": (dims[1:], nngp),
            "apart": (("set", "d0", "start"), apart),
            "recipe_residual": (("set", "d0"), recipe),
        },
        {
            "source": list(eos.SOURCES),
            "set": list(names),
            "d0": list(config.dims),
            "repeat": list(seeds),
        },
    )


def _lines(config: Config) -> xr.Dataset:
    """D1 in 8 dimensions: the width at the paper's noise, the noise at the last width."""
    X, y, t = make("D1", total=config.totals[-1], dim=8, pad=max(config.dims), seeds=config.seeds)
    repeats, found = len(config.seeds), {}
    for axis, values in (("width", config.widths), ("noise", config.noises)):
        rows = jnp.tile(X, (len(values), 1, 1))
        setting = {axis: np.repeat(values, repeats), "config": config, "source": "theory"}
        solved = solve_each(rows, y, t, 8, **setting)
        for f in FIELDS:
            shaped = solved[f].reshape(len(values), repeats)
            found[f"{axis}_{f}"] = ((axis, "repeat"), shaped)
    found["line_nngp"] = (("repeat",), np.asarray(limits(X, y, num_classes=2)["nngp"]))
    return xr.Dataset(found, {"width": list(config.widths), "noise": list(config.noises)})


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat; NC1 values are log10, NaN where nothing was solved.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    if config.cell == "settings":
        found = xr.merge([_sets(config), _lines(config)])
    else:
        found = _grid(config, "D1" if config.cell == "figure4" else "std 2")
    # where the free energy is flat, solutions of one residual differ by more than it
    return found.assign_attrs(reference_rtol=1e-3)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("figure4", "smoke"),
    quick=Config.at("figure4", "quick"),
    paper=Config.at("figure4", "paper"),
)
def figure4(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("figure5", "smoke"),
    quick=Config.at("figure5", "quick"),
    paper=Config.at("figure5", "paper"),
)
def figure5(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("settings", "smoke"),
    quick=Config.at("settings", "quick"),
    paper=Config.at("settings", "paper"),
)
def settings(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
