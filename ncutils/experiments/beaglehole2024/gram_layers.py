r"""P3, Theorem 5.3: the Gram map of Deep RFM, iterated, with three normalisations.

Cell: ``theorem`` (errors layer by layer, rates in every direction, plateaus, the lemmas).
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils.deep_rfm import gram_map
from ncutils.experiments import case
from ncutils.records import workspace

CELLS = ("theorem",)
SCALES = ("exact", "one", "printed")
PARTS = ("mixed", "label", "rest")
FLOOR = 1e-12  # of the norm n: three digits above the rounding of a layer


@dataclass(frozen=True)
class Config:
    r"""Everything that decides the numbers.

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

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The settings at a scale.

        Raises:
            ValueError: for an unknown cell or scale.
        """
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}: choose one of {', '.join(CELLS)}")
        return cls(tuple(range((2, 5, 20)[workspace.SCALES.index(workspace.check_scale(scale))])))


def _scale(kind: str, n: int, map_ridge: float, ridge: float) -> float:
    ridges = {"predictor_ridge": ridge, "map_ridge": map_ridge}
    if kind == "exact":
        return gram_map.exact_scale(per_class=n, **ridges)
    return gram_map.printed_scale(**ridges) if kind == "printed" else 1.0


def start(config: Config, seed: int) -> np.ndarray:
    """A random positive Gram matrix with the trace of the collapsed one."""
    N = config.classes * config.per_class
    draw = np.random.default_rng(seed).normal(size=(N, 2 * N))
    return draw @ draw.T / (2 * N)


def perturbed(config: Config, part: str, seed: int, size: float) -> np.ndarray:
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


def _errors(config: Config, cases, layers: int) -> np.ndarray:
    """Errors by layer for cases (start, scale, predictor ridge, map ridge)."""
    columns = [jnp.asarray(np.array(column)) for column in zip(*cases, strict=True)]
    return np.asarray(_paths(*columns, classes=config.classes, layers=layers))


def _layers(config: Config) -> dict:
    n, C = config.per_class, config.classes
    cases, S = [], config.seeds

    def add(T, kind, map_ridge, ridge):
        cases.append((T, _scale(kind, n, map_ridge, ridge), ridge, map_ridge))

    for map_ridge, ridge in config.table:
        for kind in SCALES:
            add(start(config, S[0]), kind, map_ridge, ridge)
    for ridge in config.ridges:
        for seed in S:
            add(start(config, seed), "exact", config.map_ridge, ridge)
        for part in PARTS:
            add(perturbed(config, part, S[0], 1e-4), "exact", config.map_ridge, ridge)
    for ridge in config.small_ridges:
        for kind in SCALES:
            add(start(config, S[0]), kind, config.map_ridge, ridge)
    errors = list(_errors(config, cases, config.layers))

    def take(*shape):
        count = math.prod(shape)
        taken = np.array([errors.pop(0) for _ in range(count)])
        return taken.reshape(*shape, -1)

    table = take(len(config.table), len(SCALES))
    sweep = take(len(config.ridges), len(S) + len(PARTS))
    plateaus = take(len(config.small_ridges), len(SCALES))[..., -1]
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
        "scale": list(SCALES),
        "layer": np.arange(config.layers + 1),
        "error": (("setting", "scale", "layer"), table),
        "table_law": (
            ("setting", "scale"),
            [[level(k, m, r) for k in SCALES] for m, r in config.table],
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
            [[level(k, config.map_ridge, r) for k in SCALES] for r in config.small_ridges],
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


def _one_step(config: Config) -> dict:
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


def _lemmas(config: Config) -> dict:
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


def run(config: Config) -> xr.Dataset:
    """Iterate the Gram map from all starts, and take it apart.

    Args:
        config: from `Config.at`, or any other.

    Returns:
        Errors are spectral norms. `error` (setting, scale, layer) with `table_law`, where it
        must end, and `remainder`, what the paper leaves; `rate` (ridge, repeat) of generic
        starts and `part_rate` (ridge, part) of starts near collapse, with `rate_law`;
        `plateau` (small_ridge, scale) with its law; `spectrum` and `spectrum_law`;
        `bound_used` (bound_scale, try), one layer's error in units of the bound;
        `identity_error` of the lemmas.
    """
    found = _layers(config)
    coords = ("setting", "scale", "layer", "ridge", "part", "small_ridge", "direction",
              "bound_scale", "identity", "classes", "per_class")  # fmt: skip
    return xr.Dataset(
        {name: value for name, value in found.items() if name not in coords},
        coords={"repeat": list(config.seeds), **{name: found[name] for name in coords}},
    )


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("theorem", "smoke"),
    quick=Config.at("theorem", "quick"),
    paper=Config.at("theorem", "paper"),
)
def theorem(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
