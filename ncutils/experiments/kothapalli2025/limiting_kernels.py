r"""P1, Section 5: does the tangent kernel show more collapse than the NNGP kernel?

One cell, ``gaussians``: Figs 2 and 3 on D1, the same kernels on two other sets, and what
closed forms predict for all of them. When the order of the two kernels turns over is the
subject of `kernel_ordering`.
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils.experiments import case
from ncutils.experiments.kothapalli2025._sweeps import KERNELS, kernel_matrices, sweep
from ncutils.records import workspace

CELLS = ("gaussians",)
#: name → (means of the classes, standard deviation)
SETS = {
    "D1": ((-2.0, 2.0), 0.5),
    "std 2": ((-2.0, 2.0), 2.0),
    "four classes": ((-6.0, -2.0, 2.0, 6.0), 0.5),
}


@dataclass(frozen=True)
class Config:
    """What decides the numbers of the cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each repeat.
        totals: N, the sizes of D1; the other sets have the largest.
        dims: d₀, the input dimensions.
    """

    cell: str
    seeds: tuple[int, ...]
    totals: tuple[int, ...]
    dims: tuple[int, ...]

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration at a scale; "quick" already has the paper's own sizes."""
        if workspace.check_scale(scale) == "smoke":
            return cls(cell, seeds=(0, 1, 2), totals=(64, 128), dims=(1, 8))
        return cls(
            cell,
            seeds=tuple(range(10)),
            totals=(128, 256, 512, 1024),
            dims=(1, 2, 8, 32, 128),
        )


def _log10_ratio(diagonal, blocks) -> float:
    """log₁₀ NC1 of balanced classes from the mean diagonal and the class averages."""
    own = np.diag(blocks).mean()
    return math.log10((np.mean(diagonal) - own) / (own - blocks.mean()))


def infinite_dimension(means: tuple[float, ...], std: float) -> dict[str, float]:
    r"""$\log_{10} \mathcal{NC}_1$ of Gaussian classes for $d_0 \to \infty$ and many samples.

    In the limit $x^\top x' / d_0$ is $a_c a_{c'}$ for two samples and $a_c^2 + s^2$ for one
    with itself. The vectors $\sqrt d\,(a_c e_0 + s e_i)$ have just these products, so two
    of them for each class hold everything that the kernels see.

    Args:
        means: $a_c$, class means are $a_c \mathbf 1$.
        std: s.

    Returns:
        Kernel name → value, for `KERNELS` but the released one, which has no limit.
    """
    C = len(means)
    X = np.zeros((2 * C, 2 * C + 1))
    X[:, 0] = np.tile(means, 2)
    X[np.arange(2 * C), np.arange(1, 2 * C + 1)] = std
    found = kernel_matrices(jnp.asarray(X * math.sqrt(X.shape[1])))
    return {
        name: _log10_ratio(np.diag(K), np.asarray(K)[:C, C:])
        for name, K in found.items()
        if name != "ntk_erf_released"
    }


def one_dimension(means: tuple[float, ...], std: float, *, nodes: int = 80) -> dict[str, float]:
    r"""$\log_{10} \mathcal{NC}_1$ of Gaussian classes on the line, for many samples.

    The averages of a kernel over two independent Gaussian samples are taken by the
    Gauss–Hermite rule: $\mathbb E f(x) \approx \sum_k w_k f(a_c + s t_k)$.

    Args, Returns: as for `infinite_dimension`; nodes: points of the rule for a class.
    """
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    X = np.concatenate([a + std * t for a in means])[:, None]
    average = np.kron(np.eye(len(means)), w[:, None])
    found = kernel_matrices(jnp.asarray(X))
    return {
        name: _log10_ratio(average.sum(axis=1) @ np.diag(K) / len(means), average.T @ K @ average)
        for name, K in found.items()
        if name != "ntk_erf_released"
    }


def closed_forms(a: float, s: float) -> dict[str, float]:
    r"""`infinite_dimension` of two classes by formula.

    For means $\mp a \mathbf 1$ and covariance $s^2 I$, with $S = a^2 + s^2$ and
    $\cos\theta = a^2 / S$,

    $$\mathcal{NC}_1(Q_{\mathrm{ReLU}}) =
        \tfrac{2(\pi - \sin\theta - (\pi - \theta)\cos\theta)}{\pi\cos\theta}, \quad
      \mathcal{NC}_1(\Theta_{\mathrm{ReLU}}) =
        \mathcal{NC}_1(Q_{\mathrm{ReLU}}) + \tfrac{\tan\theta}{\pi},$$
    $$\mathcal{NC}_1(Q_{\mathrm{erf}}) = \tfrac{q_0 - q_1}{q_1}, \quad
      \mathcal{NC}_1(\Theta_{\mathrm{erf}}) = \tfrac{q_0 + k_0 - q_1 - k_1}{q_1 + k_1}.$$

    Args:
        a, s: distance of a mean from the origin and standard deviation, per dimension.

    Returns:
        Kernel name → value.
    """
    S = a * a + s * s
    theta = math.acos(a * a / S)
    sin, cos = math.sin(theta), math.cos(theta)
    relu = 2 * (math.pi - sin - (math.pi - theta) * cos) / (math.pi * cos)
    q0, q1 = math.asin(2 * S / (1 + 2 * S)), math.asin(2 * a * a / (1 + 2 * S))
    k0 = 2 * S / math.sqrt(1 + 4 * S)
    k1 = 2 * a * a / math.sqrt((1 + 2 * S) ** 2 - 4 * a**4)
    found = {
        "data": s * s / (a * a),
        "nngp_erf": (q0 - q1) / q1,
        "ntk_erf": (q0 + k0 - q1 - k1) / (q1 + k1),
        "nngp_relu": relu,
        "ntk_relu": relu + math.tan(theta) / math.pi,
    }
    return {name: math.log10(value) for name, value in found.items()}


def _gaussians(config: Config) -> xr.Dataset:
    def found(name, *totals):
        means, std = SETS[name]
        sizes = tuple((N // len(means),) * len(means) for N in totals)
        return sweep(sizes, dims=config.dims, means=means, std=std, seeds=config.seeds)[..., 0]

    d1 = found("D1", *config.totals)
    others = [found(name, config.totals[-1])[0] for name in list(SETS)[1:]]
    theory = [
        [infinite_dimension(*setting) for setting in SETS.values()],
        [one_dimension(*setting) for setting in SETS.values()],
        [closed_forms(2.0, 0.5), closed_forms(2.0, 2.0), {}],
    ]
    table = [[[row.get(name, np.nan) for name in KERNELS] for row in rows] for rows in theory]
    return xr.Dataset(
        {
            "d1": (("N", "d0", "repeat", "kernel"), d1),
            "sets": (("set", "d0", "repeat", "kernel"), np.stack([d1[-1], *others])),
            "theory": (("form", "set", "kernel"), np.array(table)),
        },
        coords={
            "N": list(config.totals),
            "d0": list(config.dims),
            "repeat": list(config.seeds),
            "set": list(SETS),
            "kernel": list(KERNELS),
            "form": ["infinite dimension", "one dimension", "closed form"],
        },
    )


def run(config: Config) -> xr.Dataset:
    """Run one cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a repeat.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _gaussians(config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("gaussians", "smoke"),
    quick=Config.at("gaussians", "quick"),
    paper=Config.at("gaussians", "paper"),
)
def gaussians(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
