r"""Beyond P2: unequal classes, values that differ by class, noise, one kernel per neuron.

Cells: ``flows`` (the invariant, within-class collapse and end states for shared kernels of
four kinds), ``neurons`` (one kernel per neuron).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel, DenseKernel, SharedKernel, SpecialisedKernel
from ncutils.experiments import case
from ncutils.experiments.seleznova2023._flows import (
    collapse_metrics,
    departures,
    invariants,
    labels_of,
    random_psd,
    random_states,
    stack,
)
from ncutils.records import workspace

CELLS = ("flows", "neurons")
KINDS = ("three values", "values by class", "noisy entries", "label-blind")


@dataclass(frozen=True)
class Config:
    r"""What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        neurons: n.
        values: the three kernel values where there are three.
        sizes: class sizes tried.
        spreads: standard deviation of the log of a neuron's kernel steps.
        end: last time.
    """

    cell: str
    seeds: tuple[int, ...]
    neurons: int = 5
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    sizes: tuple[tuple[int, ...], ...] = ((4, 4, 4), (2, 3, 7))
    spreads: tuple[float, ...] = ()
    end: float = 60.0

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        if cell == "flows":
            more = ((4, 4, 4), (3, 4, 5), (2, 3, 7), (1, 2, 9))
            return cls(
                cell,
                seeds=tuple(range((2, 4, 20)[level])),
                sizes=more if level else cls.sizes,
            )
        return cls(
            cell,
            seeds=tuple(range((2, 4, 20)[level])),
            neurons=6,
            spreads=((0.0, 0.1, 0.3), (0.0, 0.03, 0.1, 0.3, 1.0), (0.0, 0.03, 0.1, 0.3, 1.0))[
                level
            ],
        )


def kernel_of(
    kind: str, sizes: tuple[int, ...], values: tuple[float, float, float], seed: int = 0
) -> SharedKernel:
    """A fixed positive definite kernel of one of `KINDS`, for classes of these sizes."""
    C, N, rng = len(sizes), sum(sizes), np.random.default_rng(seed)
    if kind == "label-blind":  # the unconstrained features model
        return BlockKernel(1.0, 0.0, 0.0)
    if kind == "values by class":
        B = 0.3 + np.diag(rng.uniform(0.2, 1.2, C)) + 0.1 * random_psd(rng, C)
        return SpecialisedKernel(np.diag(B) + rng.uniform(0.4, 1.6, C), B)
    plain = BlockKernel(*values)
    if kind == "three values":
        return plain
    noise = rng.normal(size=(N, N))
    return DenseKernel(plain.matrix(sizes, C) + 0.1 * (noise + noise.T) / 2**0.5)


def as_dense(kernel: SharedKernel, sizes: tuple[int, ...]) -> DenseKernel:
    """The same kernel as a matrix, so that all kinds share one compiled flow."""
    if isinstance(kernel, DenseKernel):
        return kernel
    return DenseKernel(kernel.matrix(sizes, len(sizes)))


def scatters(path: block_ntk.Trajectory, sizes: tuple[int, ...]) -> np.ndarray:
    r"""$\operatorname{tr} V_c V_c^\top$: states × times × classes."""
    y, H = labels_of(sizes), np.asarray(path.H)
    parts = [H[..., y == c] for c in range(len(sizes))]
    return np.stack([((p - p.mean(-1, keepdims=True)) ** 2).sum((-2, -1)) for p in parts], axis=-1)


def bound_ratio(path: block_ntk.Trajectory, sizes: tuple[int, ...]) -> np.ndarray:
    """Largest ratio of a class's scatter to its bound over classes and times after the first."""
    found, n = scatters(path, sizes), path.H.shape[-2]
    worst = np.zeros(len(found))
    for s in range(len(found)):
        for c, size in enumerate(sizes):
            if size == 1:
                continue  # a single sample has no deviation
            bound = block_ntk.within_class_bound(
                float(found[s, 0, c]), path.ts[s], rank=min(n, size - 1)
            )
            worst[s] = max(worst[s], float(jnp.max(found[s, 1:, c] / bound[1:])))
    return worst


def _flows(config: Config) -> xr.Dataset:
    n, S, C = config.neurons, len(config.seeds), len(config.sizes[0])
    N = sum(config.sizes[0])
    ts = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.05, config.end, 16)])
    shape = (len(config.sizes), len(KINDS), S)
    drift, bound = np.empty((*shape, 2, len(ts))), np.empty((*shape, 2))
    within, nc = np.empty((*shape, 2, len(ts))), np.empty((*shape, 4))
    gram, law = np.empty((2, *shape, C, C)), np.empty((2, *shape, C, C))
    frame, bias = np.empty((*shape, 2, C, 2)), np.empty((*shape, C))
    mean, speed = np.empty((*shape, len(ts))), np.empty(shape)
    for i, sizes in enumerate(config.sizes):
        far = random_states(config.seeds, C=C, n=n, N=N)
        balanced_formula = BlockKernel(*config.values)
        for j, kind in enumerate(KINDS):
            kernel = as_dense(kernel_of(kind, sizes, config.values), sizes)
            about = {"m": sizes, "C": C}
            drawn = [
                block_ntk.initial_state(kernel, **about, n=n, key=jax.random.key(seed))
                for seed in config.seeds
            ]
            starts = stack(drawn)
            path = block_ntk.many_flows(
                *(
                    jnp.concatenate(pair)
                    for pair in zip((starts.W, starts.H, starts.b), far, strict=True)
                ),
                kernel,
                **about,
                ts=ts,
            )
            flat, wild = (jax.tree.map(lambda x, k=k: x[k * S : (k + 1) * S], path) for k in (0, 1))
            # the formula for equal classes and three values, taken at its word
            wrong = balanced_formula if kind != "three values" else BlockKernel(2.0, 1.0, 0.0)
            for k, used in enumerate((kernel, wrong)):
                drift[i, j, :, k] = departures(invariants(wild, used, **about))
            for k, part in enumerate((flat, wild)):
                bound[i, j, :, k] = bound_ratio(part, sizes)
                within[i, j, :, k] = scatters(part, sizes).sum(-1)
            nc[i, j] = collapse_metrics(flat, sizes)[:, -1]
            speed[i, j] = flat.speed[:, -1]
            mean[i, j] = np.linalg.norm(np.asarray(flat.H).mean(-1), axis=-1)
            M = kernel.class_mean_kernel(sizes, C)
            for s in range(S):
                W, b = flat.W[s, -1], flat.b[s, -1]
                H1 = block_ntk.decompose(flat.H[s, -1], **about)[0]
                gram[0, i, j, s], gram[1, i, j, s] = W @ W.T, H1.T @ H1
                law[0, i, j, s] = block_ntk.classifier_gram(b, M)
                law[1, i, j, s] = block_ntk.class_mean_gram(b, M)
                bias[i, j, s] = b
                rows = jnp.linalg.svd(W)[2][:2]
                frame[i, j, s] = np.stack([W @ rows.T, (rows @ H1).T])
    by = ("sizes", "kind", "repeat")
    return xr.Dataset(
        {
            "drift": ((*by, "formula", "time"), drift),
            "bound_ratio": ((*by, "start"), bound),
            "within": ((*by, "start", "time"), within),
            "nc": ((*by, "metric"), nc),
            "gram": (("frame", *by, "class", "other"), gram),
            "gram_law": (("frame", *by, "class", "other"), law),
            "vectors": ((*by, "frame", "class", "axis"), frame),
            "bias": ((*by, "class"), bias),
            "mean_feature": ((*by, "time"), mean),
            "speed": (by, speed),
        },
        coords={
            "sizes": ["/".join(map(str, sizes)) for sizes in config.sizes],
            "kind": list(KINDS),
            "repeat": list(config.seeds),
            "formula": ["its own kernel", "another kernel"],
            "start": ["balanced", "random"],
            "frame": ["classifier", "class means"],
            "metric": ["nc1", "nc2", "nc3", "nc4"],
            "class": np.arange(C),
            "axis": ["first", "second"],
            "time": np.asarray(ts),
        },
    )


def _neurons(config: Config) -> xr.Dataset:
    C, m, n, S = 3, 4, config.neurons, len(config.seeds)
    plain = BlockKernel(*config.values)
    ts = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.05, 2 * config.end, 16)])
    starts = [
        block_ntk.initial_state(plain, m=m, C=C, n=n, scale=1.5, key=jax.random.key(seed))
        for seed in config.seeds
    ]
    steps = np.array([config.values[2], 0.7, 1.0])[:, None]
    drawn = np.random.default_rng(0).normal(size=(3, n))
    shape = (len(config.spreads), S)
    nc, residual = np.empty((*shape, len(ts), 4)), np.empty(shape)
    own, crossed = np.empty((*shape, len(ts))), np.empty((*shape, len(ts)))
    for i, spread in enumerate(config.spreads):
        a, w, d = np.cumsum(steps * np.exp(spread * drawn), axis=0)
        kernel = block_ntk.neuron_kernel(*jnp.asarray([d, w, a]))
        each = [BlockKernel(*values) for values in zip(d, w, a, strict=True)]
        batch = stack([_balance_neurons(start, each, m, C) for start in starts])
        path = block_ntk.many_flows(batch.W, batch.H, batch.b, kernel, m=m, C=C, ts=ts)
        E = np.stack([invariants(path, k, m=m, C=C)[..., j, :] for j, k in enumerate(each)], axis=2)
        scale = np.linalg.norm(np.asarray(path.W[:, 0]), axis=(1, 2)) ** 2 / m
        moved = abs(E - E[:, :1]) / scale[:, None, None, None]
        diagonal = np.eye(n, dtype=bool)
        own[i], crossed[i] = moved[..., diagonal].max(-1), moved[..., ~diagonal].max(-1)
        nc[i], residual[i] = collapse_metrics(path, (m,) * C), path.residual[:, -1]
    by = ("spread", "repeat")
    return xr.Dataset(
        {
            "own_drift": ((*by, "time"), own),
            "crossed_drift": ((*by, "time"), crossed),
            "nc": ((*by, "time", "metric"), nc),
            "residual": (by, residual),
        },
        coords={
            "spread": list(config.spreads),
            "repeat": list(config.seeds),
            "time": np.asarray(ts),
            "metric": ["nc1", "nc2", "nc3", "nc4"],
        },
    )


def _balance_neurons(start, kernels, m: int, C: int) -> block_ntk.State:
    """The state with each row of H stretched until every neuron's own number is zero."""
    energy = [float(h @ k.solve(h[None], m, C)[0]) for h, k in zip(start.H, kernels, strict=True)]
    stretch = jnp.sqrt(jnp.sum(start.W**2, axis=0) / jnp.asarray(energy))
    return block_ntk.State(W=start.W, H=stretch[:, None] * start.H, b=start.b)


_RUN = {"flows": _flows, "neurons": _neurons}


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in _RUN:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _RUN[config.cell](config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("flows", "smoke"),
    quick=Config.at("flows", "quick"),
    paper=Config.at("flows", "paper"),
)
def flows(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)


@case(
    smoke=Config.at("neurons", "smoke"),
    quick=Config.at("neurons", "quick"),
    paper=Config.at("neurons", "paper"),
)
def neurons(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
