r"""P3, Appendices A and B and Theorem 5.4: angles under ReLU, and the best kernel for labels.

Cell: ``propositions`` (Proposition A.1 by Monte Carlo and what one ReLU layer does to NC1;
the relaxed problem; distances realised by a Mahalanobis matrix).
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import data, kernels, metrics
from ncutils.deep_rfm import theory
from ncutils.experiments import case
from ncutils.records import workspace

CELLS = ("propositions",)
SETS = ("separated", "opposed")
PATHS = ("identity", "simplex", "all ones", "random")
PROFILES = ("laplace", "gaussian", "with a floor")


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers.

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

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The settings at a scale.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        level = workspace.SCALES.index(workspace.check_scale(scale))
        seeds = tuple(range((2, 5, 20)[level]))
        return cls(seeds, (500, 4000, 40_000)[level], (50, 300, 1000)[level])


# --- Proposition A.1 ------------------------------------------------------------------------


@jax.jit
def _products(weights, angles):
    r"""$\sigma(Wx)^\top\sigma(Wz)$ for each of many W (r × D × 2, unit variance) and each angle."""
    units = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    first = jax.nn.relu(weights[:, :, 0])
    second = jax.nn.relu(jnp.einsum("rdk,ka->rda", weights, units))
    return 2 * jnp.einsum("rd,rda->ra", first, second) / weights.shape[1]


def _monte_carlo(config: Config) -> dict:
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


def _one_layer(config: Config) -> dict:
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


def _relaxed(config: Config) -> dict:
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


def _realised(config: Config) -> dict:
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


def run(config: Config) -> xr.Dataset:
    """Measure everything.

    Args:
        config: from `Config.at`, or any other.

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


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("propositions", "smoke"),
    quick=Config.at("propositions", "quick"),
    paper=Config.at("propositions", "paper"),
)
def propositions(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
