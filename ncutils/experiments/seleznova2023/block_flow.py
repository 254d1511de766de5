r"""P2, sections 4–5 and Appendix B.4: the flow, its invariant, and when it collapses.

Cell: ``collapse`` (Theorems 4.1, 5.1 and 5.2, the map over the invariant's norm and
alignment, biases, orientation); one cell, because all of it shares one compiled flow.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel
from ncutils.experiments import case
from ncutils.experiments.seleznova2023._flows import (
    METRICS,
    collapse_metrics,
    departures,
    element_velocity,
    invariants,
    random_states,
    stack,
)
from ncutils.records import workspace

CELLS = ("collapse",)
STARTS = ("generic", "tight")
FORMULAS = ("(26)", "without α", "wrong μ_single")


@dataclass(frozen=True)
class Config:
    r"""What decides the numbers of one cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        classes, per_class, neurons: C, m and n.
        values: the three kernel values.
        scale: square root of $\lVert W^\top W\rVert_F$ at the start.
        sizes: $m\lVert E\rVert_F / \lVert W^\top W\rVert_F$ at the start.
        alignments: cosines of E with $W^\top W$.
        biases: common final biases, in units of 1/C.
        across: values $\kappa_n$ at which biases are tried.
        end: last time.
    """

    cell: str
    seeds: tuple[int, ...]
    classes: int = 4
    per_class: int = 5
    neurons: int = 8
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    scale: float = 2.0
    sizes: tuple[float, ...] = ()
    alignments: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()
    across: tuple[float, ...] = ()
    end: float = 40.0

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        seeds = tuple(range((2, 3, 20)[level]))
        fine = np.geomspace(1e-3, 0.5, (0, 7, 17)[level]) if level else (1e-3, 1e-2, 0.5)
        return cls(
            cell,
            seeds=seeds,
            sizes=tuple(float(e) for e in fine),
            alignments=tuple(float(a) for a in np.linspace(-1, 1, (3, 9, 17)[level])),
            biases=(
                (0.0, 1.0, 1.6),
                tuple(np.linspace(-0.6, 2.2, 8)),
                tuple(np.linspace(-1, 3, 17)),
            )[level],
            across=((0.3,), (0.0, 0.05, 0.3), (0.0, 0.05, 0.3))[level],
        )


def _identities(config: Config, kernel: BlockKernel, states) -> dict:
    """Largest errors of (19) against its definition, and of (25) against (19)."""
    C, m = config.classes, config.per_class
    sizes, K = (m,) * C, np.asarray(kernel.matrix(m, C))
    without = BlockKernel(kernel.diag, kernel.across, kernel.across)
    error = np.empty((2, len(config.seeds), 2))
    for i, state in enumerate(zip(*states, strict=True)):
        W, H, b = state
        slow = element_velocity(*(np.asarray(x) for x in state), K, sizes)
        parts = block_ntk.decompose(jnp.asarray(slow[1]), m=m, C=C)
        means = (slow[0], *parts, slow[2])
        at = (W, *block_ntk.decompose(H, m=m, C=C), b)
        for j, used in enumerate((kernel, without)):
            error[0, i, j] = _gap(block_ntk.velocity(state, used, sizes), slow)
            error[1, i, j] = _gap(block_ntk.reduced_velocity(at, used, sizes), means)
    by = ("repeat", "route")
    return {"velocity_error": (by, error[0]), "reduced_error": (by, error[1])}


def _gap(fast, slow) -> float:
    return max(float(jnp.max(jnp.abs(f - s))) for f, s in zip(fast, slow, strict=True))


def _starts(config: Config, kernel: BlockKernel) -> block_ntk.State:
    """Balanced states; those without within-class part, as drawn and reflected; the map's."""
    about = {"m": config.per_class, "C": config.classes, "n": config.neurons}
    about["scale"] = config.scale
    bound = config.scale**2 / config.per_class
    keys = [jax.random.key(seed) for seed in config.seeds]
    drawn = [block_ntk.initial_state(kernel, **about, key=key) for key in keys]
    flat = [block_ntk.initial_state(kernel, **about, within=0.0, key=key) for key in keys]
    u = jnp.linalg.eigh(jnp.eye(config.classes) - 1.0 / config.classes)[1][:, 1:2]
    turned = [block_ntk.State(W=s.W - 2 * u @ (u.T @ s.W), H=s.H, b=s.b) for s in flat]
    grid = [
        block_ntk.initial_state(
            kernel, **about, invariant_norm=e * bound, alignment=a, tight=tight, key=key
        )
        for tight in (False, True)
        for e in config.sizes
        for a in config.alignments
        for key in keys
    ]
    return stack(drawn + flat + turned + grid)


def _collapse(config: Config) -> xr.Dataset:
    C, m, S = config.classes, config.per_class, len(config.seeds)
    kernel = BlockKernel(*config.values)
    ts = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.05, config.end, 24)])
    run = partial(block_ntk.many_flows, m=m, C=C, ts=ts)

    far = random_states(config.seeds, C=C, n=config.neurons, N=C * m)
    starts = _starts(config, kernel)
    path = run(
        *(jnp.concatenate(x) for x in zip(far, (starts.W, starts.H, starts.b), strict=True)), kernel
    )
    parts = [jax.tree.map(lambda x, k=k: x[k * S : (k + 1) * S], path) for k in range(4)]
    wandering, balanced, right, wrong = parts
    mapped = jax.tree.map(lambda x: x[4 * S :], path)
    grid = (len(STARTS), len(config.sizes), len(config.alignments), S)
    scores = collapse_metrics(mapped, (m,) * C)
    over_grid = scores.reshape(*grid, len(ts), len(METRICS))
    middle = len(config.alignments) // 2

    d, w, a = config.values
    used = (kernel, BlockKernel(d, w, 0.0), BlockKernel(d + 0.5, w, a))
    drift = [departures(invariants(wandering, formula, m=m, C=C)) for formula in used]
    return xr.Dataset(
        {
            **_identities(config, kernel, far),
            "drift": (("formula", "repeat", "time"), np.stack(drift)),
            "balanced": (("repeat", "time", "metric"), collapse_metrics(balanced, (m,) * C)),
            "generic": (("repeat", "time", "metric"), over_grid[0, -1, middle]),
            "final": (("start", "size", "alignment", "repeat", "metric"), over_grid[..., -1, :]),
            "final_speed": (
                ("start", "size", "alignment", "repeat"),
                np.asarray(mapped.speed)[:, -1].reshape(grid),
            ),
            "balanced_speed": (("repeat",), np.asarray(balanced.speed)[:, -1]),
            "orientation_residual": (
                ("oriented", "repeat", "time"),
                np.stack([right.residual, wrong.residual]),
            ),
            **_biases(config, run),
        },
        coords={
            "repeat": list(config.seeds),
            "route": ["theorem", "without class term"],
            "formula": list(FORMULAS),
            "time": np.asarray(ts),
            "metric": list(METRICS),
            "start": list(STARTS),
            "size": list(config.sizes),
            "alignment": list(config.alignments),
            "across": list(config.across),
            "bias": [float(v) for v in config.biases],
            "frame": ["classifier", "class means"],
            "nc": ["nc2", "nc3"],
            "oriented": ["right", "wrong"],
            "per_class": m,
            "classes": C,
        },
    )


def _biases(config: Config, run) -> dict:
    r"""Flows that end at a common bias β, and the frames that B.4 derives for it."""
    C, m = config.classes, config.per_class
    d, w, _ = config.values
    shape = (len(config.across), len(config.biases))
    cosine, law, reached = np.empty((*shape, 2)), np.empty((*shape, 2)), np.empty(shape)
    others = np.empty((*shape, 2))
    for i, across in enumerate(config.across):
        kernel = BlockKernel(d, w, across)
        drawn = [
            block_ntk.symmetric_state(
                kernel,
                m=m,
                C=C,
                n=config.neurons,
                final_bias=v / C,
                start_bias=(v + 0.2 * np.sign(1 - v)) / C,
                key=jax.random.key(k),
            )
            for k, v in enumerate(config.biases)
        ]
        states = stack(drawn)
        path = run(states.W, states.H, states.b, kernel)
        scores = collapse_metrics(path, (m,) * C)[:, -1]
        for j, v in enumerate(config.biases):
            frames = block_ntk.equal_bias_frames(v / C, float(kernel.alpha(m, C)), C=C)
            W, H1 = path.W[j, -1], block_ntk.decompose(path.H[j, -1], m=m, C=C)[0]
            cosine[i, j] = _cosine(W), _cosine(H1.T)
            law[i, j] = float(frames.classifier_cosine), float(frames.class_mean_cosine)
            reached[i, j] = float(path.b[j, -1].mean())
            others[i, j] = scores[j, 1], scores[j, 2]
    fine = np.linspace(min(config.biases), max(config.biases), 61)
    lines = []
    for across in config.across:
        alpha = float(BlockKernel(d, w, across).alpha(m, C))
        angles = [block_ntk.equal_bias_frames(float(v) / C, alpha, C=C) for v in fine]
        lines.append([[float(a.classifier_cosine), float(a.class_mean_cosine)] for a in angles])
    return {
        "line_law": (("across", "fine_bias", "frame"), np.array(lines)),
        "fine_bias": fine,
        "cosine": (("across", "bias", "frame"), cosine),
        "cosine_law": (("across", "bias", "frame"), law),
        "bias_reached": (("across", "bias"), reached),
        "bias_metrics": (("across", "bias", "nc"), others),
    }


def _cosine(rows) -> float:
    """Mean cosine between two different rows."""
    unit = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    C = rows.shape[0]
    return float((jnp.sum(unit @ unit.T) - C) / (C * (C - 1)))


def run(config: Config) -> xr.Dataset:
    """Run the cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _collapse(config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("collapse", "smoke"),
    quick=Config.at("collapse", "quick"),
    paper=Config.at("collapse", "paper"),
)
def collapse(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
