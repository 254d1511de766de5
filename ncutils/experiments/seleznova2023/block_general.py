r"""P2, Appendix D: matrices in place of the three kernel values, and what is still conserved.

Cell: ``matrices``.
"""

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
    collapse_metrics,
    departures,
    element_velocity,
    general_matrix,
    invariants,
    random_psd,
    random_states,
)
from ncutils.records import workspace

CELLS = ("matrices",)
KINDS = ("three numbers", "one kernel per neuron", "general matrices")


@dataclass(frozen=True)
class Config:
    """What decides the numbers of the cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        classes, per_class, neurons: C, m and n.
        values: the three kernel values where there are three.
        small: C, m and n for the count of conserved numbers.
        end: last time.
    """

    cell: str
    seeds: tuple[int, ...]
    classes: int = 3
    per_class: int = 4
    neurons: int = 5
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    small: tuple[int, int, int] = (2, 2, 3)
    end: float = 40.0

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        return cls(cell, seeds=tuple(range((2, 3, 20)[level])))


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


def _relaxation(config: Config, ts) -> dict:
    """Kernels of that kind against their three numbers, and turned against W."""
    C, m, n = config.classes, config.per_class, config.neurons
    plain, eye = BlockKernel(*config.values), jnp.eye(n)
    found, drift, nc = (np.empty((len(config.seeds), 2)) for _ in range(3))
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
        found[i] = [float(jnp.max(jnp.abs(path.H - paths[0].H))) for path in paths[1:]]
        drift[i] = np.linalg.norm(E[1:, -1], axis=(1, 2))
        nc[i] = collapse_metrics(batch, (m,) * C)[1:, -1, :3].max(axis=1)
    by = ("repeat", "turned")
    return {"relaxed_gap": (by, found), "relaxed_drift": (by, drift), "relaxed_nc": (by, nc)}


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


def _matrices(config: Config) -> xr.Dataset:
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
        matrices = (kernel.diag, kernel.within, kernel.across)
        slow = element_velocity(
            *(np.asarray(x) for x in state), general_matrix(*matrices, sizes), sizes
        )
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
    return _matrices(config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("matrices", "smoke"),
    quick=Config.at("matrices", "quick"),
    paper=Config.at("matrices", "paper"),
)
def matrices(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
