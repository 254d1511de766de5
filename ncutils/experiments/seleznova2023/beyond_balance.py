r"""Beyond P2: unequal classes, values that differ by class, noise, one kernel per neuron."""

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
from ncutils.experiments.seleznova2023._grids import geometric

KINDS = ("three values", "values by class", "noisy entries", "label-blind")
SPREADS = (0.0, 0.03, 0.1, 0.3, 1.0)


# --- kernels of four kinds that the neurons share --------------------------------------------


@dataclass(frozen=True)
class Flows:
    """The invariant, within-class collapse and end states for shared kernels of four kinds.

    Attributes:
        seeds: one for each repeat.
        sizes: class sizes tried.
        neurons: n.
        values: the three kernel values where there are three.
        end: last time.
    """

    seeds: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...] = ((4, 4, 4), (3, 4, 5), (2, 3, 7), (1, 2, 9))
    neurons: int = 5
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    end: float = 60.0


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
    scatter, n = scatters(path, sizes), path.H.shape[-2]
    worst = np.zeros(len(scatter))
    for s in range(len(scatter)):
        for c, size in enumerate(sizes):
            if size == 1:
                continue  # a single sample has no deviation
            bound = block_ntk.within_class_bound(
                float(scatter[s, 0, c]), path.ts[s], rank=min(n, size - 1)
            )
            worst[s] = max(worst[s], float(jnp.max(scatter[s, 1:, c] / bound[1:])))
    return worst


@case(
    smoke=Flows(seeds=(0, 1), sizes=((4, 4, 4), (2, 3, 7))),
    quick=Flows(seeds=tuple(range(4))),
    paper=Flows(seeds=tuple(range(20))),
)
def flows(config: Flows) -> xr.Dataset:
    """Flows of every kind for all class sizes, from balanced and from random starts."""
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
            classes = {"m": sizes, "C": C}
            starts = stack(
                [
                    block_ntk.initial_state(kernel, **classes, n=n, key=jax.random.key(seed))
                    for seed in config.seeds
                ]
            )
            path = block_ntk.many_flows(
                *(
                    jnp.concatenate(pair)
                    for pair in zip((starts.W, starts.H, starts.b), far, strict=True)
                ),
                kernel,
                **classes,
                ts=ts,
            )
            flat, wild = (jax.tree.map(lambda x, k=k: x[k * S : (k + 1) * S], path) for k in (0, 1))
            # the formula for equal classes and three values, taken at its word
            wrong = balanced_formula if kind != "three values" else BlockKernel(2.0, 1.0, 0.0)
            for k, used in enumerate((kernel, wrong)):
                drift[i, j, :, k] = departures(invariants(wild, used, **classes))
            for k, part in enumerate((flat, wild)):
                bound[i, j, :, k] = bound_ratio(part, sizes)
                within[i, j, :, k] = scatters(part, sizes).sum(-1)
            nc[i, j] = collapse_metrics(flat, sizes)[:, -1]
            speed[i, j] = flat.speed[:, -1]
            mean[i, j] = np.linalg.norm(np.asarray(flat.H).mean(-1), axis=-1)
            M = kernel.class_mean_kernel(sizes, C)
            for s in range(S):
                W, b = flat.W[s, -1], flat.b[s, -1]
                H1 = block_ntk.decompose(flat.H[s, -1], **classes)[0]
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


# --- one kernel for each neuron ---------------------------------------------------------------


@dataclass(frozen=True)
class Neurons:
    """One kernel for each neuron.

    Attributes:
        seeds: one for each repeat.
        spreads: standard deviation of the log of a neuron's kernel steps.
        neurons: n.
        values: the three kernel values without any spread.
        end: half of the last time.
    """

    seeds: tuple[int, ...]
    spreads: tuple[float, ...] = SPREADS
    neurons: int = 6
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    end: float = 60.0


@case(
    smoke=Neurons(seeds=(0, 1), spreads=(0.0, 0.1, 0.3)),
    quick=Neurons(seeds=tuple(range(4))),
    paper=Neurons(seeds=tuple(range(20))),
)
def neurons(config: Neurons) -> xr.Dataset:
    """Flows from starts that every neuron finds balanced, for each spread."""
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


# --- closed forms: how far the frames are from the simplex ------------------------------------


@dataclass(frozen=True)
class Defect:
    r"""How far imbalance and noise bend the frames from the simplex, in closed form.

    Attributes:
        seeds: one for each draw of the noise.
        noise: standard deviations σ of the kernel entries, at four samples per class.
        growth: factors on the class sizes, and samples per class under noise.
        fixed_noise: σ where the samples per class are varied.
        sizes: class sizes of the unequal classes.
        values: the three kernel values under noise.
        within_values: $\kappa_c$ at which imbalance is tried, $\kappa_d = 2$, $\kappa_n = 0.1$.
    """

    seeds: tuple[int, ...]
    noise: tuple[float, ...]
    growth: tuple[int, ...]
    fixed_noise: float = 0.01
    sizes: tuple[int, ...] = (2, 3, 7)
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    within_values: tuple[float, ...] = (0.2, 1.0, 1.9)


@jax.jit
def defects(M):
    """Distance of the classifier's frame from the simplex for each kernel of class means."""
    C = M.shape[-1]
    return jax.vmap(lambda one: block_ntk.simplex_defect(jnp.full(C, 1 / C), one))(M)


def noisy_mean_kernel(
    plain: np.ndarray, m: int, C: int, sigma: float, seed: int, *, blocks: bool = False
) -> np.ndarray:
    """The kernel of the class means when symmetric noise is added to every entry, or block."""
    rng, N = np.random.default_rng((seed, m)), m * C
    draw = rng.normal(size=(C, C) if blocks else (N, N))
    noise = sigma * (draw + draw.T) / 2**0.5
    if blocks:
        noise = np.kron(noise, np.ones((m, m)))
    K = plain + noise
    block_ntk.check_psd("noisy kernel", K)  # its norm grows as 2σ√N
    S = np.kron(np.eye(C), np.ones((m, 1)))
    return np.linalg.inv(S.T @ np.linalg.solve(K, S))


@case(
    smoke=Defect(seeds=tuple(range(4)), noise=geometric(1e-3, 1e-1, 3), growth=(2, 8, 32)),
    quick=Defect(
        seeds=tuple(range(100)), noise=geometric(1e-3, 1e-1, 5), growth=(2, 4, 8, 16, 32, 64)
    ),
    paper=Defect(
        seeds=tuple(range(400)), noise=geometric(1e-3, 1e-1, 9), growth=(2, 4, 8, 16, 32, 64, 128)
    ),
)
def defect(config: Defect) -> xr.Dataset:
    """How far imbalance and noise bend the frames from the simplex, a row for each draw."""
    base = config.sizes
    C, d = len(base), config.values[0]
    kernels = [BlockKernel(d, w, 0.1) for w in config.within_values] + [BlockKernel(d, 0.0, 0.0)]
    factors = np.array([1, *config.growth])
    grown = [tuple(int(f) * s for s in base) for f in factors]
    imbalance = [
        defects(jnp.stack([k.class_mean_kernel(sizes, C) for sizes in grown])) for k in kernels
    ]
    plain = BlockKernel(*config.values)

    def of_draws(m, sigma, **kind):
        K = np.asarray(plain.matrix(m, C))
        draws = [noisy_mean_kernel(K, m, C, sigma, seed, **kind) for seed in config.seeds]
        return defects(np.stack(draws))

    by_m = [
        [of_draws(m, config.fixed_noise, blocks=blocks) for m in config.growth]
        for blocks in (False, True)
    ]
    return xr.Dataset(
        {
            "imbalance": (("within_value", "factor"), np.stack(imbalance)),
            "noise": (("sigma", "repeat"), np.stack([of_draws(4, s) for s in config.noise])),
            "noise_by_m": (("noise_kind", "m", "repeat"), np.array(by_m)),
        },
        coords={
            "within_value": [f"{w:g}" for w in config.within_values] + ["label-blind"],
            "factor": factors,
            "repeat": list(config.seeds),
            "sigma": list(config.noise),
            "noise_kind": ["independent entries", "whole blocks"],
            "m": list(config.growth),
        },
    )
