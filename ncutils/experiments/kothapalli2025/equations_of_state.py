r"""P1, Section 6: the data-aware kernel of the Equations of State on Gaussian classes.

``figure4`` and ``figure5`` are the paper's grids, without the network, which is in
`posterior`; ``settings`` varies the width, the noise and the data, deals out the labels at
random, starts the solver elsewhere, and runs the paper's own solver.
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
from ncutils.experiments.kothapalli2025._gaussians import draws

#: name → (means, standard deviation, share of each class, targets)
SETS = {
    "D1": ((-2.0, 2.0), 0.5, (4, 4), (-1.0, 1.0)),
    "std 2": ((-2.0, 2.0), 2.0, (4, 4), (-1.0, 1.0)),
    "imbalanced": ((-2.0, 2.0), 0.5, (1, 7), (-1.0, 1.0)),
    "four classes": ((-6.0, -2.0, 2.0, 6.0), 0.5, (2, 2, 2, 2), (-3.0, -1.0, 1.0, 3.0)),
}
#: the paper's σ², and the largest relative residual that counts as a solution
NOISE, TOLERANCE = 1e-6, 1e-8
#: widths of the paper's annealing, largest first
ANNEALING = (
    *range(100_000, 10_000, -10_000),
    *range(10_000, 1_000, -1_000),
    *range(1_000, 499, -100),
)


def make(
    name: str, *, total: int, dim: int, pad: int, seeds: tuple[int, ...]
) -> tuple[Float[Array, "r n pad"], Int[Array, " n"], Float[Array, " n"]]:
    """Inputs (padded as in `_gaussians.draws`), labels and targets of one of `SETS`."""
    means, std, shares, targets = SETS[name]
    sizes = tuple(total * share // sum(shares) for share in shares)
    X, y = draws(seeds, means=means, sizes=sizes, std=std, dim=dim, width=pad)
    return X, y, jnp.asarray(targets)[y]


@partial(jax.jit, static_argnames="num_classes")
def limits(X: Float[Array, "r n d"], y: Int[Array, " n"], *, num_classes: int):
    """log10 NC1 of NNGP kernel and NTK, erf, for each repeat."""

    def one(x):
        limiting = kernels.class_blocks(x, y, num_classes=num_classes, activation="erf")
        return [jnp.log10(metrics.blocks_nc1(blocks).ratio) for blocks in limiting]

    return dict(zip(("nngp", "ntk"), jax.lax.map(one, X), strict=True))


def solve_each(
    X, y, targets, dim, *, width, noise=NOISE, source="theory", start=None, tol=TOLERANCE
):
    r"""Solve one problem after the other: one compiled program for all of one shape.

    The equations do not see the padding: with $X' = \sqrt{p/d_0}\,(X, 0)$ the covariance of
    the first $d_0$ columns is $\tfrac{d_0}{p}\Sigma$, of the others the prior's.

    Args:
        X, y, targets: r × n × p padded inputs, n labels, r × n or n targets.
        dim: d₀.
        width, noise: d₁ and σ², one number or r of them.
        source: as in `eos.solve`.
        start: r × p × p covariances, the prior's if left out.
        tol: largest relative residual that counts as a solution.

    Returns:
        name → r values: log10 NC1 of the kernel, NaN where not converged; `spike`,
        $d_0 u^\top\Sigma u$ for the unit vector u along $\mathbf 1$, and `rest`, the mean over
        the other directions (both 1 for the prior); residual, steps, converged; `sigma`.
    """
    r, _, p = X.shape
    targets = np.broadcast_to(targets, X.shape[:2])
    width, noise = np.broadcast_to(width, r), np.broadcast_to(noise, r)
    start = np.broadcast_to(np.eye(p) / p, (r, p, p)) if start is None else start
    inside, rows = np.arange(p) < dim, []
    options = {"source": source, "tol": tol, "max_steps": 1000}
    for x, t, units, variance, first in zip(X, targets, width, noise, start, strict=True):
        where = {"width": float(units), "noise_var": float(variance), "start": jnp.asarray(first)}
        solution = eos.solve(jnp.asarray(x), jnp.asarray(t), **where, **options)
        row = {
            name: getattr(solution, name) for name in ("residual", "steps", "converged", "sigma")
        }
        sigma, fine = np.asarray(solution.sigma), bool(solution.converged)
        nc1 = metrics.kernel_nc1(solution.kernel, y, num_classes=int(y.max()) + 1) if fine else None
        row["nc1"] = np.log10(nc1.ratio) if fine else np.nan
        row["spike"] = p / dim * inside @ sigma @ inside
        total = p * np.trace(sigma[:dim, :dim])
        row["rest"] = (total - row["spike"]) / (dim - 1) if dim > 1 else np.nan
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


#: where the free energy is flat, solutions of one residual differ by more than it
FLAT = 1e-3
FIELDS = ("nc1", "spike", "rest", "residual", "steps", "converged")


def _table(shape):
    return {name: np.full(shape, np.nan) for name in FIELDS}


def _grid(config: "Figure4 | Figure5", name: str) -> xr.Dataset:
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
    for i, j in tqdm(points, desc=name):
        dim, pad = config.dims[j], max(config.dims)
        X, y, t = make(name, total=config.totals[i], dim=dim, pad=pad, seeds=config.seeds)
        for k, value in limits(X, y, num_classes=int(y.max()) + 1).items():
            kernel[k][i, j] = value
        rows = jnp.tile(X, (widths, 1, 1))
        width = np.repeat(config.widths, repeats)
        for s, source in enumerate(eos.SOURCES):
            solved = solve_each(rows, y, t, dim, source=source, width=width)
            for field, values in table.items():
                values[s, :, i, j] = solved[field].reshape(widths, repeats)
            prior = jnp.eye(pad) / pad
            at = {"width": config.widths[-1], "noise_var": NOISE, "source": source}
            step = eos.right_hand_side(prior, X[0], t, **at)
            gap[s, i, j] = pad / dim * jnp.abs(prior - step).max()
    dims = ("source", "width", "N", "d0", "repeat")
    grid = xr.Dataset(
        {f: (dims, v) for f, v in table.items()}
        | {k: (dims[2:], v) for k, v in kernel.items()}
        | {"first_gap": (("source", "N", "d0"), gap)},
        dict(zip(dims, (list(eos.SOURCES), *map(list, axes)), strict=True)),
    )
    return grid.assign_attrs(reference_rtol=FLAT)


@dataclass(frozen=True)
class Figure4:
    """D1 at two widths.

    Attributes:
        seeds: one for each repeat.
        totals: N.
        dims: d₀.
        widths: d₁.
    """

    seeds: tuple[int, ...]
    totals: tuple[int, ...] = (128, 256, 512, 1024)
    dims: tuple[int, ...] = (1, 2, 8, 32, 128)
    widths: tuple[float, ...] = (2000.0, 500.0)


@case(
    smoke=Figure4(seeds=(0, 1), totals=(32,), dims=(1, 8)),
    quick=Figure4(seeds=(0, 1, 2)),
    paper=Figure4(seeds=tuple(range(10))),
)
def figure4(config: Figure4) -> xr.Dataset:
    """The paper's Fig. 4, as `_grid` says."""
    return _grid(config, "D1")


@dataclass(frozen=True)
class Figure5:
    """Classes that overlap in few dimensions, at one width; fields as of `Figure4`."""

    seeds: tuple[int, ...]
    totals: tuple[int, ...] = (128, 256, 512, 1024)
    dims: tuple[int, ...] = (8, 16, 32, 64, 128)
    widths: tuple[float, ...] = (500.0,)


@case(
    smoke=Figure5(seeds=(0, 1), totals=(32,), dims=(2, 8)),
    quick=Figure5(seeds=(0, 1, 2)),
    paper=Figure5(seeds=tuple(range(10))),
)
def figure5(config: Figure5) -> xr.Dataset:
    """The kernels of the paper's Fig. 5, as `_grid` says."""
    return _grid(config, "std 2")


@dataclass(frozen=True)
class Settings:
    """What else the equations are tried on.

    Attributes:
        seeds: one for each repeat.
        total: N.
        dims: d₀ of the sets.
        widths: d₁ of the line; the last is that of all else.
        noises: σ² of the line.
        starts: random starts of the solver.
    """

    seeds: tuple[int, ...]
    total: int
    dims: tuple[int, ...] = (2, 8, 32)
    widths: tuple[float, ...] = (8000.0, 4000.0, 2000.0, 1000.0, 500.0, 250.0)
    noises: tuple[float, ...] = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
    starts: int = 3


@case(
    smoke=Settings((0, 1), 32, dims=(2, 8), widths=(2000.0, 500.0), noises=(1e-6, 1.0), starts=1),
    quick=Settings(seeds=(0, 1, 2), total=128),
    paper=Settings(seeds=tuple(range(10)), total=1024),
)
def settings(config: Settings) -> xr.Dataset:
    """Sets, starts and the paper's solver (`_sets`); one line in width, one in noise (`_lines`)."""
    return xr.merge([_sets(config), _lines(config)]).assign_attrs(reference_rtol=FLAT)


def published_recipe(X, targets, *, width: float) -> float:
    r"""The paper's solver on the textbook equations in float64: last relative residual.

    `scipy.optimize.newton_krylov` at each width of `ANNEALING`, largest entry of the
    residual 5e-4. NaN where it gives up: no convergence, or a Σ that is not positive.
    """
    sigma = np.eye(X.shape[1]) / X.shape[1]
    step = jax.jit(lambda s, w: eos.right_hand_side(s, X, targets, width=w))
    try:
        for units in (w for w in ANNEALING if w >= width):
            with np.errstate(all="ignore"):
                sigma = scipy.optimize.newton_krylov(
                    lambda s, w=units: s - np.asarray(step(0.5 * (s + s.T), float(w))),
                    sigma,
                    f_tol=5e-4,
                    maxiter=100,
                    inner_maxiter=100,
                )
    except (scipy.optimize.NoConvergence, ValueError):
        return float("nan")
    return float(eos.residual(jnp.asarray(sigma), X, targets, width=width))


def _sets(config: Settings) -> xr.Dataset:
    """All of `SETS` and D1 with dealt-out labels; other starts; the paper's solver."""
    names = (*SETS, "D1, labels dealt out")
    total, pad, seeds = config.total, max(config.dims), config.seeds
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
                solved = solve_each(X, y, t, dim, width=config.widths[-1], source=source)
                for field, values in table.items():
                    values[s, i, j] = solved[field]
                if source == "theory":
                    own = solved["sigma"][0]
            roots = [jnp.eye(pad) + jax.random.normal(k, (pad, pad)) for k in keys]
            start = jnp.stack([R @ R.T / pad**2 for R in roots])
            rows = jnp.tile(X[:1], (config.starts, 1, 1))
            other = solve_each(rows, y, t[:1], dim, width=config.widths[-1], start=start)
            away = np.linalg.norm(other["sigma"] - own, axis=(1, 2)) / np.linalg.norm(own)
            apart[i, j] = np.where(other["converged"], away, np.nan)
            if dim == 8:  # the recipe takes hundreds of evaluations
                inputs = X[0, :, :dim] * np.sqrt(dim / pad)
                recipe[i, j] = published_recipe(inputs, t[0], width=config.widths[-1])
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


def _lines(config: Settings) -> xr.Dataset:
    """D1 in 8 dimensions: the width at the paper's noise, the noise at the last width."""
    X, y, t = make("D1", total=config.total, dim=8, pad=max(config.dims), seeds=config.seeds)
    repeats, lines = len(config.seeds), {}
    for axis, values in (("width", config.widths), ("noise", config.noises)):
        rows = jnp.tile(X, (len(values), 1, 1))
        where = {"width": config.widths[-1], axis: np.repeat(values, repeats)}
        solved = solve_each(rows, y, t, 8, **where)
        for f in FIELDS:
            shaped = solved[f].reshape(len(values), repeats)
            lines[f"{axis}_{f}"] = ((axis, "repeat"), shaped)
    lines["line_nngp"] = (("repeat",), np.asarray(limits(X, y, num_classes=2)["nngp"]))
    return xr.Dataset(lines, {"width": list(config.widths), "noise": list(config.noises)})
