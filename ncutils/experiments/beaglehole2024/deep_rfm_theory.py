r"""P3, Theorems 5.3 and 5.4, Appendices A and B: the theory of Deep RFM, computed.

Case ``theorem``: the Gram map of Theorem 5.3, iterated, with three normalisations (errors
layer by layer, rates in every direction, plateaus, the lemmas).

Case ``propositions``: Proposition A.1 by Monte Carlo and what one ReLU layer does to NC1;
the relaxed problem of Theorem 5.4; distances realised by a Mahalanobis matrix.
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import data, kernels, metrics
from ncutils.deep_rfm import gram_map, theory
from ncutils.experiments import case

NORMALISATIONS = ("exact", "one", "printed")
PARTS = ("mixed", "label", "rest")
FLOOR = 1e-12  # of the norm n: three digits above the rounding of a layer
SETS = ("separated", "opposed")
PATHS = ("identity", "simplex", "all ones", "random")
PROFILES = ("laplace", "gaussian", "with a floor")


@dataclass(frozen=True)
class Theorem:
    r"""The Gram matrices, ridges and layers of Theorem 5.3.

    Attributes:
        seeds: one for each repeat.
        classes, per_class: C and n.
        map_ridge: $\lambda_{map}$ of the sweeps.
        ridges: $\hat\lambda$ of the sweep over rates.
        small_ridges: $\hat\lambda$ of the sweep over plateaus.
        layers: steps of the Gram map.
        table: pairs $(\lambda_{map}, \hat\lambda)$ whose errors are drawn layer by layer.
    """

    seeds: tuple[int, ...]
    classes: int = 4
    per_class: int = 10
    map_ridge: float = 1.0
    ridges: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    small_ridges: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)
    layers: int = 16
    table: tuple[tuple[float, float], ...] = ((1.0, 1e-3), (0.5, 1e-3), (2.0, 5e-3), (1.0, 0.1))


def _scale(kind: str, n: int, map_ridge: float, ridge: float) -> float:
    ridges = {"predictor_ridge": ridge, "map_ridge": map_ridge}
    if kind == "exact":
        return gram_map.exact_scale(per_class=n, **ridges)
    return gram_map.printed_scale(**ridges) if kind == "printed" else 1.0


def start(config: Theorem, seed: int) -> np.ndarray:
    """A random positive Gram matrix with the trace of the collapsed one."""
    N = config.classes * config.per_class
    draw = np.random.default_rng(seed).normal(size=(N, 2 * N))
    return draw @ draw.T / (2 * N)


def perturbed(config: Theorem, part: str, seed: int, size: float) -> np.ndarray:
    """The collapsed Gram matrix with an error of norm `size` in one of `PARTS`."""
    C, n = config.classes, config.per_class
    G = np.kron(np.eye(C), np.ones((n, n)))
    on, off = G / n, np.eye(C * n) - G / n
    E = start(config, seed) - np.eye(C * n)
    E = {"mixed": on @ E @ off + off @ E @ on, "label": on @ E @ on, "rest": off @ E @ off}[part]
    # `rest` must leave the matrix positive semi-definite: it starts from zero there
    E = E @ E.T if part == "rest" else E
    return G + size * E / np.linalg.norm(E, 2)


def late_ratio(error: np.ndarray, floor: float) -> float:
    """The last ratio of successive errors of which both are above a floor."""
    above = np.flatnonzero(error[1:] > floor)
    last = int(above[-1]) if above.size else 0
    return float(error[last + 1] / error[last])


@functools.partial(jax.jit, static_argnames=("classes", "layers"))
def _paths(T, scale, ridge, map_ridge, *, classes, layers):
    def one(T, scale, ridge, map_ridge):
        ridges = {"predictor_ridge": ridge, "map_ridge": map_ridge}
        return gram_map.gram_path(T, num_classes=classes, layers=layers, scale=scale, **ridges)

    return jax.vmap(one)(T, scale, ridge, map_ridge).error


def _errors(config: Theorem, cases, layers: int) -> np.ndarray:
    """Errors by layer for cases (start, scale, predictor ridge, map ridge)."""
    columns = [jnp.asarray(np.array(column)) for column in zip(*cases, strict=True)]
    return np.asarray(_paths(*columns, classes=config.classes, layers=layers))


def _gram_layers(config: Theorem) -> dict:
    n, C = config.per_class, config.classes
    cases, S = [], config.seeds

    def add(T, kind, map_ridge, ridge):
        cases.append((T, _scale(kind, n, map_ridge, ridge), ridge, map_ridge))

    for map_ridge, ridge in config.table:
        for kind in NORMALISATIONS:
            add(start(config, S[0]), kind, map_ridge, ridge)
    for ridge in config.ridges:
        for seed in S:
            add(start(config, seed), "exact", config.map_ridge, ridge)
        for part in PARTS:
            add(perturbed(config, part, S[0], 1e-4), "exact", config.map_ridge, ridge)
    for ridge in config.small_ridges:
        for kind in NORMALISATIONS:
            add(start(config, S[0]), kind, config.map_ridge, ridge)
    errors = list(_errors(config, cases, config.layers))

    def take(*shape):
        count = math.prod(shape)
        taken = np.array([errors.pop(0) for _ in range(count)])
        return taken.reshape(*shape, -1)

    table = take(len(config.table), len(NORMALISATIONS))
    sweep = take(len(config.ridges), len(S) + len(PARTS))
    plateaus = take(len(config.small_ridges), len(NORMALISATIONS))[..., -1]
    generic, parts = sweep[:, : len(S)], sweep[:, len(S) :]
    laws = [
        gram_map.rates(per_class=n, predictor_ridge=r, map_ridge=config.map_ridge)
        for r in config.ridges
    ]

    def level(kind, map_ridge, ridge):
        scale = _scale(kind, n, map_ridge, ridge)
        return gram_map.plateau(
            per_class=n, scale=scale, predictor_ridge=ridge, map_ridge=map_ridge
        )

    return {
        "setting": [f"λ_map = {m:g}, λ̂ = {r:g}" for m, r in config.table],
        "scale": list(NORMALISATIONS),
        "layer": np.arange(config.layers + 1),
        "error": (("setting", "scale", "layer"), table),
        "table_law": (
            ("setting", "scale"),
            [[level(k, m, r) for k in NORMALISATIONS] for m, r in config.table],
        ),
        "remainder": (("setting",), [(r / m) ** 2 for m, r in config.table]),
        "ridge": list(config.ridges),
        "part": list(PARTS),
        "rate": (("ridge", "repeat"), [[late_ratio(e, FLOOR * n) for e in row] for row in generic]),
        "part_rate": (("ridge", "part"), parts[..., 1] / parts[..., 0]),
        "rate_law": (("ridge", "part"), [[law.mixed, law.label, law.rest] for law in laws]),
        "small_ridge": list(config.small_ridges),
        "plateau": (("small_ridge", "scale"), plateaus),
        "plateau_law": (
            ("small_ridge", "scale"),
            [[level(k, config.map_ridge, r) for k in NORMALISATIONS] for r in config.small_ridges],
        ),
        **_one_step(config),
        **_lemmas(config),
        "classes": C,
        "per_class": n,
    }  # fmt: skip


def spectrum(*, classes: int, per_class: int, predictor_ridge: float, map_ridge: float):
    """Eigenvalues of the derivative of the Gram map at collapse, found and derived, sorted."""
    ridges = {"predictor_ridge": predictor_ridge, "map_ridge": map_ridge}
    N = classes * per_class
    G = gram_map.collapsed_gram(num_classes=classes, per_class=per_class)
    scale = gram_map.exact_scale(per_class=per_class, **ridges)
    rows, columns = np.tril_indices(N)
    basis = np.zeros((len(rows), N, N))
    basis[np.arange(len(rows)), rows, columns] = np.where(rows == columns, 1, math.sqrt(0.5))
    basis = np.maximum(basis, basis.transpose(0, 2, 1))
    step = lambda T: gram_map.gram_step(T, G, scale=scale, **ridges)  # noqa: E731
    images = jax.jit(jax.vmap(lambda E: jax.jvp(step, (G,), (E,))[1]))(jnp.asarray(basis))
    found = np.linalg.eigvals(np.einsum("aij,bij->ab", basis, np.asarray(images)))
    law = gram_map.rates(per_class=per_class, **ridges)
    K, R = classes, N - classes
    expected = [law.mixed] * (K * R) + [law.label] * (K * (K + 1) // 2)
    expected += [law.rest] * (R * (R + 1) // 2)
    return np.sort(found.real), np.sort(expected)


def _one_step(config: Theorem) -> dict:
    """The derivative in every direction, and the bound that holds at any distance."""
    n, C, seeds = config.per_class, config.classes, config.seeds
    found, law = spectrum(classes=3, per_class=4, predictor_ridge=0.3, map_ridge=0.5)
    ridges = {"predictor_ridge": config.ridges[0], "map_ridge": config.map_ridge}
    r = gram_map.rates(per_class=n, **ridges).mixed
    sizes = (0.01, 1.0, 100.0)
    G = np.kron(np.eye(C), np.ones((n, n)))
    starts = [G + size * (start(config, s) - 0.01 * G) for size in sizes for s in seeds]
    starts = [T if np.linalg.eigvalsh(T)[0] >= 0 else T + G for T in starts]
    both = [_scale(kind, n, *list(ridges.values())[::-1]) for kind in ("exact", "printed")]
    cases = [(T, scale, *ridges.values()) for scale in both for T in starts]
    before, after = _errors(config, cases, 1).T
    used = after / ((2 * r + r**2 * before / n) * before)
    return {
        "direction": np.arange(len(law)),
        "spectrum": (("direction",), found),
        "spectrum_law": (("direction",), law),
        "bound_scale": ["exact", "printed"],
        "bound_used": (("bound_scale", "try"), used.reshape(2, -1)),
    }


def _lemmas(config: Theorem) -> dict:
    """Lemmas C.1 and C.2, and the identity that the proof of Theorem 5.3 takes from them."""
    n, C = config.per_class, config.classes
    G, ridge = np.kron(np.eye(C), np.ones((n, n))), config.map_ridge
    N = C * n
    inverse = np.linalg.inv(G + ridge * np.eye(N))
    lemma = np.eye(N) / ridge - G / (ridge * (ridge + n))
    # Woodbury: (λI + UVᵀ)⁻¹ = λ⁻¹I - λ⁻²U(I + λ⁻¹VᵀU)⁻¹Vᵀ
    rng = np.random.default_rng(config.seeds[0])
    U, V = rng.normal(size=(2, N, C)) / math.sqrt(N)
    middle = np.linalg.inv(np.eye(C) + V.T @ U / ridge)
    woodbury = np.eye(N) / ridge - U @ middle @ V.T / ridge**2
    gaps = {
        "woodbury": woodbury - np.linalg.inv(ridge * np.eye(N) + U @ V.T),
        "inverse": lemma - inverse,
        "derived": G @ inverse - G / (n + ridge),
        "printed": G @ inverse - (1 + 1 / ridge) * G,
        "all samples": inverse - (np.eye(N) / ridge - G / (ridge * (ridge + N))),
    }
    return {
        "identity": list(gaps),
        "identity_error": (("identity",), [float(np.abs(gap).max()) for gap in gaps.values()]),
    }


@case(
    smoke=Theorem(seeds=(0, 1)),
    quick=Theorem(seeds=tuple(range(5))),
    paper=Theorem(seeds=tuple(range(20))),
)
def theorem(config: Theorem) -> xr.Dataset:
    """Iterate the Gram map from all starts, and take it apart.

    Returns:
        Errors are spectral norms. `error` (setting, scale, layer) with `table_law`, where it
        must end, and `remainder`, what the paper leaves; `rate` (ridge, repeat) of generic
        starts and `part_rate` (ridge, part) of starts near collapse, with `rate_law`;
        `plateau` (small_ridge, scale) with its law; `spectrum` and `spectrum_law`;
        `bound_used` (bound_scale, try), one layer's error in units of the bound;
        `identity_error` of the lemmas.
    """
    found = _gram_layers(config)
    coords = ("setting", "scale", "layer", "ridge", "part", "small_ridge", "direction",
              "bound_scale", "identity", "classes", "per_class")  # fmt: skip
    return xr.Dataset(
        {name: value for name, value in found.items() if name not in coords},
        coords={"repeat": list(config.seeds), **{name: found[name] for name in coords}},
    )


@dataclass(frozen=True)
class Propositions:
    """The draws, kernels and points of Propositions A.1 and B.1 and Theorem 5.4.

    Attributes:
        seeds: one for each repeat.
        draws: random matrices for each mean of the Monte Carlo.
        kernels: random feasible kernels, near the best one and far from it.
        widths: D, random features.
        angles: how many angles between 0 and π.
        classes, per_class: C and n of the relaxed problem and of the sets of points.
        ridge: μ of the relaxed problem.
        codings: numbers of classes at which targets ±1 are tried.
        images: digits of each of ten classes whose distances are realised.
        separations: distances between classes in Proposition B.1, in bandwidths.
    """

    seeds: tuple[int, ...]
    draws: int
    kernels: int
    widths: tuple[int, ...] = (16, 64, 256)
    angles: int = 13
    classes: int = 4
    per_class: int = 10
    ridge: float = 0.7
    codings: tuple[int, ...] = (3, 4, 6, 10)
    images: int = 4
    separations: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)


# --- Proposition A.1 ------------------------------------------------------------------------


@jax.jit
def _products(weights, angles):
    r"""$\sigma(Wx)^\top\sigma(Wz)$ for each of many W (r × D × 2, unit variance) and each angle."""
    units = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    first = jax.nn.relu(weights[:, :, 0])
    second = jax.nn.relu(jnp.einsum("rdk,ka->rda", weights, units))
    return 2 * jnp.einsum("rd,rda->ra", first, second) / weights.shape[1]


def _monte_carlo(config: Propositions) -> dict:
    angles = np.linspace(0.0, math.pi, config.angles + 2)[1:-1]
    rng = np.random.default_rng(config.seeds[0])
    weights = rng.normal(size=(config.draws, max(config.widths), 2))
    mean, variance = [], []
    for width in config.widths:
        found = np.asarray(_products(weights[:, :width], angles))
        mean.append(found.mean(axis=0))
        variance.append(width * found.var(axis=0, ddof=1))
    fine = jnp.linspace(0.0, math.pi, 201)[1:]
    at = jnp.asarray(angles)
    vectors = jnp.stack([jnp.cos(fine), jnp.sin(fine)], axis=1)
    erf = kernels.nngp(vectors, jnp.array([[1.0, 0.0]]), activation="erf", weight_var=2.0)[:, 0]
    same = kernels.nngp(jnp.array([[1.0, 0.0]]), activation="erf", weight_var=2.0)[0, 0]
    return {
        "angle": angles,
        "inner": (("width", "angle"), np.array(mean)),
        "inner_law": (("angle",), theory.relu_inner_product(at)),
        "variance": (("width", "angle"), np.array(variance)),
        "variance_law": (("angle",), theory.relu_variance(at)),
        "ratio": (("fine_angle",), theory.relu_distance_ratio(fine)),
        "ratio_erf": (("fine_angle",), (same - erf) / (1 - jnp.cos(fine))),
        "fine_angle": np.asarray(fine),
        "draws": config.draws,
        "width": list(config.widths),
    }


def points(kind: str, *, classes: int, per_class: int, seed: int):
    """Unit vectors sorted by class.

    "separated": around one direction for each class, so that any two of a class are at a
    smaller angle than any two of different classes. "opposed": half of each class around
    a direction and half around its opposite.
    """
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), per_class)
    noise = rng.normal(size=(len(y), 4 * classes)) / math.sqrt(4 * classes)
    sign = np.where(np.arange(len(y)) % 2, -1.0, 1.0) if kind == "opposed" else np.ones(len(y))
    x = sign[:, None] * np.eye(4 * classes)[y] + 0.3 * noise
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def nc1_through_relu(x, y, *, classes: int) -> tuple[float, float]:
    """log10 NC1 of unit vectors before and after an infinitely wide ReLU layer."""
    X = jnp.asarray(x)
    after = kernels.nngp(X, activation="relu", weight_var=2.0 * x.shape[1])
    pair = (metrics.kernel_nc1(K, jnp.asarray(y), num_classes=classes) for K in (X @ X.T, after))
    before, after = (math.log10(float(found.ratio)) for found in pair)
    return before, after


def _one_layer(config: Propositions) -> dict:
    C = config.classes
    change, gap = np.empty((2, len(config.seeds), 2)), np.empty((2, len(config.seeds)))
    for i, kind in enumerate(SETS):
        for j, seed in enumerate(config.seeds):
            x, y = points(kind, classes=C, per_class=config.per_class, seed=seed)
            change[i, j] = nc1_through_relu(x, y, classes=C)
            same = y[:, None] == y[None, :]
            cosine = x @ x.T
            gap[i, j] = cosine[same].min() - cosine[~same].max()
    dims = ("set", "repeat")
    return {
        "set": list(SETS),
        "side": ["before", "after"],
        "nc1": ((*dims, "side"), change),
        "angular_gap": (dims, gap),
    }


# --- Theorem 5.4 and Proposition B.1 --------------------------------------------------------


def feasible(size: int, seed: int, *, signed: bool) -> np.ndarray:
    """A random kernel with unit diagonal; without negative entries unless `signed`."""
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=(size, int(rng.integers(2, size))))
    draw = draw if signed else np.abs(draw)
    draw /= np.linalg.norm(draw, axis=1, keepdims=True)
    return draw @ draw.T


@functools.partial(jax.jit, static_argnames="ridge")
def _objective(k, Y, ridge):
    return theory.relaxed_objective(k, Y, ridge=ridge)


def labels(classes: int, per_class: int, coding: str = "one-hot") -> np.ndarray:
    """Y, C × N with sorted samples: 1 and 0, or 1 and -1 ("signs")."""
    Y = np.kron(np.eye(classes), np.ones((1, per_class)))
    return 2 * Y - 1 if coding == "signs" else Y


def block(classes: int, per_class: int, across: float) -> np.ndarray:
    """Ones within the classes and one value between them."""
    return np.kron((1 - across) * np.eye(classes) + across, np.ones((per_class, per_class)))


def best_across(classes: int, per_class: int, ridge: float) -> float:
    r"""Value between the classes of the best kernel for targets ±1: $(C-4)(1+\mu/n)/(3C-4)$."""
    return (classes - 4) * (1 + ridge / per_class) / (3 * classes - 4)


def _relaxed(config: Propositions) -> dict:
    """Theorem 5.4: random kernels, straight lines away from the best, and both codings."""
    C, n, mu = config.classes, config.per_class, config.ridge
    N, Y = C * n, jnp.asarray(labels(C, n))
    least = theory.relaxed_minimum(num_classes=C, per_class=n, ridge=mu)
    best = block(C, n, 0.0)

    def worse(k, Y=Y, least=least):
        return float(_objective(jnp.asarray(k), Y, mu)) / least - 1

    # from the best kernel part of the way, a thousandth to all of it, to a random one
    way = 10.0 ** -np.random.default_rng(config.seeds[0]).uniform(0, 3, config.kernels)
    tried = np.array(
        [
            [worse((1 - t) * best + t * feasible(N, s, signed=sign)) for s, t in enumerate(way)]
            for sign in (False, True)
        ]
    )
    ends = [np.eye(N), block(C, n, -1 / (C - 1)), np.ones((N, N)), feasible(N, 0, signed=True)]
    share = np.linspace(0, 1, 11)
    lines = [[worse((1 - t) * best + t * end) for t in share] for end in ends]
    slope, gap = np.empty((2, len(config.codings))), np.empty(len(config.codings))
    for i, classes in enumerate(config.codings):
        size = classes * n
        signs = jnp.asarray(labels(classes, n, "signs"))
        law = best_across(classes, n, mu)
        value = worse(block(classes, n, law), signs, 1.0) + 1
        for j, at in enumerate((law, law + 0.05)):
            near = [worse(block(classes, n, at + step), signs, value) for step in (-1e-4, 1e-4)]
            slope[j, i] = abs(near[1] - near[0]) / 2e-4
        others = [feasible(size, seed, signed=True) for seed in range(10)]
        gap[i] = min(worse(k, signs, value) for k in [*others, block(classes, n, law + 0.05)])
    return {
        "sign": ["not negative", "any"],
        "excess": (("sign", "kernel"), tried),
        "minimum_error": worse(best),
        "infeasible": worse(2 * best),
        "path": list(PATHS),
        "share": share,
        "line": (("path", "share"), lines),
        "coding_classes": list(config.codings),
        "across": ["law", "law + 0.05"],
        "across_law": (("coding_classes",), [best_across(c, n, mu) for c in config.codings]),
        "across_slope": (("across", "coding_classes"), slope),
        "coding_excess": (("coding_classes",), gap),
    }


def squared_distances(X: np.ndarray, M: np.ndarray | None = None) -> np.ndarray:
    """Between all rows, pair by pair from their differences."""
    gaps = X[:, None, :] - X[None, :, :]
    return np.einsum("ijk,ijk->ij", gaps if M is None else gaps @ M, gaps)


def _realised(config: Propositions) -> dict:
    """Proposition B.1 on real digits."""
    digits, n, mu = data.load("digits"), config.images, config.ridge
    C = digits.num_classes
    X = np.concatenate([digits.flat[digits.y == c][:n] for c in range(C)])
    rng = np.random.default_rng(config.seeds[0])
    error = np.empty((len(config.seeds), 2))
    for i, _ in enumerate(config.seeds):
        R, other = rng.normal(size=(2, len(X), 3))
        M = np.asarray(theory.realising_metric(jnp.asarray(X), jnp.asarray(R)))
        found = squared_distances(X, M)
        for j, target in enumerate((R, other)):
            wanted = squared_distances(target)
            error[i, j] = np.abs(found - wanted).max() / wanted.max()
    least = theory.relaxed_minimum(num_classes=C, per_class=n, ridge=mu)
    Y = jnp.asarray(labels(C, n))
    gap, across = np.empty((2, len(PROFILES), len(config.separations)))
    for j, separation in enumerate(config.separations):
        R = separation / math.sqrt(2) * np.repeat(np.eye(C), n, axis=0)
        M = theory.realising_metric(jnp.asarray(X), jnp.asarray(R))
        laplace = kernels.laplace(jnp.asarray(X), bandwidth=1.0, M=M)
        gaussian = kernels.gaussian(jnp.asarray(X), bandwidth=1.0, M=M)
        for i, k in enumerate((laplace, gaussian, 0.5 * (1 + laplace))):
            gap[i, j] = float(_objective(k, Y, mu)) / least - 1
            across[i, j] = float(k[0, -1])
    return {
        "points": ["asked for", "others"],
        "distance_error": (("repeat", "points"), error),
        "profile": list(PROFILES),
        "separation": list(config.separations),
        "gap": (("profile", "separation"), gap),
        "between": (("profile", "separation"), across),
        "gap_law": (("profile", "separation"), (C - 1) * (n / (n + mu)) ** 2 * across**2),
    }


@case(
    smoke=Propositions(seeds=(0, 1), draws=500, kernels=50),
    quick=Propositions(seeds=tuple(range(5)), draws=4000, kernels=300),
    paper=Propositions(seeds=tuple(range(20)), draws=40_000, kernels=1000),
)
def propositions(config: Propositions) -> xr.Dataset:
    """Draw, integrate and minimise what the propositions speak of.

    Returns:
        Proposition A.1: `inner` and `variance` (times D) by (width, angle) with their laws,
        `ratio` of squared distances by fine_angle, `ratio_erf` that of an erf layer, `nc1`
        (set, repeat, side) in log10 with `angular_gap`, the smallest cosine within classes
        minus the largest between.
        Theorem 5.4, everything as objective / minimum - 1: `excess` (sign, kernel), `line`
        (path, share), `infeasible`; for targets ±1 `across_law`, `across_slope` and
        `coding_excess`. Proposition B.1: `distance_error` (repeat, points), `gap` and
        `between` (profile, separation) with `gap_law`.
    """
    found = _monte_carlo(config) | _one_layer(config) | _relaxed(config) | _realised(config)
    coords = ("angle", "fine_angle", "width", "set", "side", "sign", "path", "share",
              "coding_classes", "across", "points", "profile", "separation", "draws")  # fmt: skip
    return xr.Dataset(
        {name: value for name, value in found.items() if name not in coords},
        coords={"repeat": list(config.seeds), **{name: found[name] for name in coords}},
    )
