r"""P2, sections 4–5, Appendices B.4 and D: the flow, its invariant, and when it collapses."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel, GeneralBlockKernel
from ncutils.experiments import case
from ncutils.experiments.seleznova2023._flows import (
    METRICS,
    collapse_metrics,
    departures,
    element_velocity,
    general_matrix,
    invariants,
    random_psd,
    random_states,
    stack,
)
from ncutils.experiments.seleznova2023._grids import even, geometric

STARTS = ("generic", "tight")
FORMULAS = ("(26)", "without α", "wrong μ_single")
KINDS = ("three numbers", "one kernel per neuron", "general matrices")


# --- three kernel values --------------------------------------------------------------------


@dataclass(frozen=True)
class Collapse:
    r"""Theorems 4.1, 5.1 and 5.2, the map over the invariant, biases and orientation.

    One case, because all of it shares one compiled flow.

    Attributes:
        seeds: one for each repeat.
        sizes: $m\lVert E\rVert_F / \lVert W^\top W\rVert_F$ at the start.
        alignments: cosines of E with $W^\top W$.
        biases: common final biases, in units of 1/C.
        across: values $\kappa_n$ at which biases are tried.
        classes, per_class, neurons: C, m and n.
        values: the three kernel values.
        scale: square root of $\lVert W^\top W\rVert_F$ at the start.
        end: last time.
    """

    seeds: tuple[int, ...]
    sizes: tuple[float, ...]
    alignments: tuple[float, ...]
    biases: tuple[float, ...]
    across: tuple[float, ...] = (0.0, 0.05, 0.3)
    classes: int = 4
    per_class: int = 5
    neurons: int = 8
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    scale: float = 2.0
    end: float = 40.0


def _identities(config: Collapse, kernel: BlockKernel, states) -> dict:
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


def _starts(config: Collapse, kernel: BlockKernel) -> block_ntk.State:
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


@case(
    smoke=Collapse(
        seeds=(0, 1),
        sizes=(1e-3, 1e-2, 0.5),
        alignments=even(-1.0, 1.0, 3),
        biases=(0.0, 1.0, 1.6),
        across=(0.3,),
    ),
    quick=Collapse(
        seeds=(0, 1, 2),
        sizes=geometric(1e-3, 0.5, 7),
        alignments=even(-1.0, 1.0, 9),
        biases=even(-0.6, 2.2, 8),
    ),
    paper=Collapse(
        seeds=tuple(range(20)),
        sizes=geometric(1e-3, 0.5, 17),
        alignments=even(-1.0, 1.0, 17),
        biases=even(-1.0, 3.0, 17),
    ),
)
def collapse(config: Collapse) -> xr.Dataset:
    """Flows from balanced, unbalanced and mirrored starts, a row for each repeat."""
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


def _biases(config: Collapse, run) -> dict:
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


# --- matrices in place of the three values: Appendix D --------------------------------------


@dataclass(frozen=True)
class Matrices:
    """Matrices in place of the three kernel values, and what is still conserved.

    Attributes:
        seeds: one for each repeat.
        classes, per_class, neurons: C, m and n.
        values: the three kernel values where there are three.
        small: C, m and n for the count of conserved numbers.
        end: last time.
    """

    seeds: tuple[int, ...]
    classes: int = 3
    per_class: int = 4
    neurons: int = 5
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    small: tuple[int, int, int] = (2, 2, 3)
    end: float = 40.0


def kernel_of(kind: str, n: int, values: tuple[float, float, float], seed: int):
    """A kernel of one of `KINDS`; random but for the first."""
    rng = np.random.default_rng(seed)
    if kind == "three numbers":
        return GeneralBlockKernel(*(v * jnp.eye(n) for v in values))
    if kind == "one kernel per neuron":
        steps = np.cumsum(rng.uniform(0.2, 1.0, size=(3, n)), axis=0)
        return block_ntk.neuron_kernel(*jnp.asarray(steps[::-1]))
    steps = np.cumsum([random_psd(rng, n) + 0.1 * np.eye(n) for _ in range(3)], axis=0)
    return GeneralBlockKernel(*steps[::-1])


@partial(jax.jit, static_argnames="sizes")
def _velocities(states, kernel, sizes):
    return jax.vmap(lambda *state: block_ntk.velocity(state, kernel, sizes))(*states)


@partial(jax.jit, static_argnames=("m", "C"))
def _weighted(W, H, kernel, eye, m, C):
    """The invariant of a kernel of matrices along a path."""
    return jax.vmap(lambda W, H: block_ntk.commutant_invariant(W, H, kernel, eye, m=m, C=C))(W, H)


def conserved_count(kernel: GeneralBlockKernel, *, C: int, m: int, n: int, seed: int) -> int:
    r"""How many independent quadratic forms of W and H the flow conserves.

    $$e = \operatorname{tr}(ZW^\top W) - \mathrm{vec}(H)^\top B\,\mathrm{vec}(H)$$
    with any symmetric Z and B. The derivative of each is evaluated at many random states;
    the forms for which it vanishes at all of them are the null space of that table.
    Nothing of the theory of conserved numbers is used.
    """
    N = C * m
    small, large = np.triu_indices(n), np.triu_indices(n * N)
    count = 2 * (len(small[0]) + len(large[0]))
    W, H, b = random_states(range(seed, seed + count), C=C, n=n, N=N)
    dW, dH, _ = _velocities((W, H, b), kernel, (m,) * C)
    G = np.einsum("sck,scl->skl", W, dW)
    F = np.einsum("si,sj->sij", H.reshape(count, -1), dH.reshape(count, -1))
    G, F = G + G.transpose(0, 2, 1), F + F.transpose(0, 2, 1)
    table = np.concatenate([G[:, *small], F[:, *large]], axis=1)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    spectrum = np.linalg.svd(table, compute_uv=False)
    return int(np.sum(spectrum < 1e-9 * spectrum[0]))


def relaxed_kernel(W, values, seed: int) -> GeneralBlockKernel:
    """Matrices that are three numbers on the rows of W, and anything else beside them."""
    d, w, a = values
    n, rng = W.shape[1], np.random.default_rng(seed)
    rows = jnp.linalg.svd(W)[2][: jnp.linalg.matrix_rank(W)]
    P = rows.T @ rows
    beside = (jnp.eye(n) - P) @ random_psd(rng, n) @ (jnp.eye(n) - P)
    across = jnp.asarray(random_psd(rng, n))
    within = across + (w - a) * P + beside
    return GeneralBlockKernel(within + (d - w) * P + 2 * beside, within, across)


def _relaxation(config: Matrices, ts) -> dict:
    """Kernels of that kind against their three numbers, and turned against W."""
    C, m, n = config.classes, config.per_class, config.neurons
    plain, eye = BlockKernel(*config.values), jnp.eye(n)
    gap, drift, nc = (np.empty((len(config.seeds), 2)) for _ in range(3))
    for i, seed in enumerate(config.seeds):
        start = block_ntk.initial_state(plain, m=m, C=C, n=n, key=jax.random.key(seed))
        kernel = relaxed_kernel(start.W, config.values, seed)
        Q = jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (n, n)))[0]
        relaxed = (kernel.diag, kernel.within, kernel.across)
        paths = [
            block_ntk.flow(start.W, start.H, start.b, used, m=m, C=C, ts=ts)
            for used in (
                GeneralBlockKernel(*(v * eye for v in config.values)),
                kernel,
                GeneralBlockKernel(*(Q @ K @ Q.T for K in relaxed)),
            )
        ]
        batch = jax.tree.map(lambda *x: jnp.stack(x), *paths)
        E = np.asarray(invariants(batch, plain, m=m, C=C))
        gap[i] = [float(jnp.max(jnp.abs(path.H - paths[0].H))) for path in paths[1:]]
        drift[i] = np.linalg.norm(E[1:, -1], axis=(1, 2))
        nc[i] = collapse_metrics(batch, (m,) * C)[1:, -1, :3].max(axis=1)
    by = ("repeat", "turned")
    return {"relaxed_gap": (by, gap), "relaxed_drift": (by, drift), "relaxed_nc": (by, nc)}


@partial(jax.jit, static_argnames=("m", "C"))
def _naive_rates(state, kernel: GeneralBlockKernel, m: int, C: int):
    """Error of (77) for the velocity of a combination with constants, and of "no velocity"."""
    K2, K1, _ = kernel.reduced(m, C)
    c1, c2 = len(K1) / jnp.trace(K1), len(K2) / jnp.trace(K2)

    def naive(W, H):
        H1, H2 = block_ntk.decompose(H, m=m, C=C)
        return W.T @ W / m - c1 * H1 @ H1.T - c2 * H2 @ H2.T

    moving = block_ntk.velocity(state, kernel, (m,) * C)[:2]
    rate = jax.jvp(naive, state[:2], moving)[1]
    derived = block_ntk.naive_invariant_derivative(*state, kernel, c1=c1, c2=c2, m=m, C=C)
    return jnp.stack([jnp.max(jnp.abs(derived - rate)), jnp.max(jnp.abs(rate))])


@case(
    smoke=Matrices(seeds=(0, 1)),
    quick=Matrices(seeds=(0, 1, 2)),
    paper=Matrices(seeds=tuple(range(20))),
)
def matrices(config: Matrices) -> xr.Dataset:
    """Flows under kernels of matrices, a row for each repeat."""
    C, m, n, S = config.classes, config.per_class, config.neurons, len(config.seeds)
    sizes, eye = (m,) * C, jnp.eye(n)
    C0, m0, n0 = config.small
    ts = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.05, config.end, 8)])
    W, H, b = random_states(config.seeds, C=C, n=n, N=C * m)
    velocity_error, rates = np.empty((S, 2)), np.empty((S, 2))
    drift = np.empty((2, S, len(KINDS), len(ts)))
    counts = np.empty((S, len(KINDS)), int)
    for i, seed in enumerate(config.seeds):
        state = (W[i], H[i], b[i])
        for j, kind in enumerate(KINDS):
            kernel = kernel_of(kind, n, config.values, seed)
            means = [float(jnp.trace(K) / n) for K in (kernel.diag, kernel.within, kernel.across)]
            path = block_ntk.flow(*state, kernel, m=m, C=C, ts=ts)
            batch = jax.tree.map(lambda x: x[None], path)
            E = invariants(batch, BlockKernel(*means), m=m, C=C)
            weighted = _weighted(path.W, path.H, kernel, eye, m, C)
            drift[0, i, j] = departures(E)[0]
            drift[1, i, j] = abs(weighted - weighted[0]) / jnp.linalg.norm(E[0, 0])
            small = kernel_of(kind, n0, config.values, seed)
            counts[i, j] = conserved_count(small, C=C0, m=m0, n=n0, seed=seed)
        whole = general_matrix(kernel.diag, kernel.within, kernel.across, sizes)
        slow = element_velocity(*(np.asarray(x) for x in state), whole, sizes)
        for j, used in enumerate((kernel, BlockKernel(*means))):
            fast = block_ntk.velocity(state, used, sizes)
            velocity_error[i, j] = max(
                float(jnp.max(jnp.abs(f - s))) for f, s in zip(fast, slow, strict=True)
            )
        rates[i] = _naive_rates(state, kernel, m, C)
    return xr.Dataset(
        {
            "velocity_error": (("repeat", "route"), velocity_error),
            "derivative_error": (("repeat", "derivative"), rates),
            "drift": (("formula", "repeat", "kind", "time"), drift),
            "count": (("repeat", "kind"), counts),
            "count_law": (("kind",), [n0 * (n0 + 1) // 2, n0, 1]),
            **_relaxation(config, ts),
        },
        coords={
            "repeat": list(config.seeds),
            "formula": ["constants in front", "weighted by the kernel"],
            "route": ["matrices", "mean of their diagonals"],
            "derivative": ["(77)", "zero"],
            "kind": list(KINDS),
            "time": np.asarray(ts),
            "turned": ["aligned", "turned"],
        },
    )
