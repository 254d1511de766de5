r"""Closed forms beyond P2: how far imbalance and noise bend the frames from the simplex.

Cell: ``defect``, by the number of samples, the size of the noise, and samples per class.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ncutils import block_ntk
from ncutils.block_ntk import BlockKernel
from ncutils.experiments import case
from ncutils.records import workspace

CELLS = ("defect",)


@dataclass(frozen=True)
class Config:
    r"""What decides the numbers of the cell.

    Attributes:
        cell: one of `CELLS`.
        seeds: one for each draw of the noise.
        values: the three kernel values under noise.
        sizes: class sizes of the unequal classes.
        noise: standard deviations σ of the kernel entries, at four samples per class.
        fixed_noise: σ where the samples per class are varied.
        growth: factors on the class sizes, and samples per class under noise.
        within_values: $\kappa_c$ at which imbalance is tried, $\kappa_d = 2$, $\kappa_n = 0.1$.
    """

    cell: str
    seeds: tuple[int, ...]
    values: tuple[float, float, float] = (2.0, 1.0, 0.3)
    sizes: tuple[int, ...] = (2, 3, 7)
    noise: tuple[float, ...] = ()
    fixed_noise: float = 0.01
    growth: tuple[int, ...] = ()
    within_values: tuple[float, ...] = (0.2, 1.0, 1.9)

    @classmethod
    def at(cls, cell: str, scale: str) -> "Config":
        """The configuration of a cell at a scale."""
        level = workspace.SCALES.index(workspace.check_scale(scale))
        return cls(
            cell,
            seeds=tuple(range((4, 100, 400)[level])),
            noise=tuple(float(s) for s in np.geomspace(1e-3, 1e-1, (3, 5, 9)[level])),
            growth=((2, 8, 32), (2, 4, 8, 16, 32, 64), (2, 4, 8, 16, 32, 64, 128))[level],
        )


@jax.jit
def defects(M):
    """Distance of the classifier's frame from the simplex for each kernel of class means."""
    C = M.shape[-1]
    return jax.vmap(lambda one: block_ntk.simplex_defect(jnp.full(C, 1 / C), one))(M)


def _defect(config: Config) -> xr.Dataset:
    base = config.sizes
    C, d = len(base), config.values[0]
    kernels = [BlockKernel(d, w, 0.1) for w in config.within_values] + [BlockKernel(d, 0.0, 0.0)]
    factors = np.array([1, *config.growth])
    grown = [tuple(int(f) * s for s in base) for f in factors]
    imbalance = [
        defects(jnp.stack([k.class_mean_kernel(sizes, C) for sizes in grown])) for k in kernels
    ]
    plain = BlockKernel(*config.values)

    def of_draws(m, sigma, **how):
        K = np.asarray(plain.matrix(m, C))
        draws = [noisy_mean_kernel(K, m, C, sigma, seed, **how) for seed in config.seeds]
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


def run(config: Config) -> xr.Dataset:
    """Run the cell.

    Args:
        config: `Config.at(cell, scale)`, or any other.

    Returns:
        Arrays with one row a draw.

    Raises:
        ValueError: for a cell that is not in `CELLS`.
    """
    if config.cell not in CELLS:
        raise ValueError(f"no cell {config.cell!r}: choose one of {', '.join(CELLS)}")
    return _defect(config)


# The cases, with the configurations of this module's cells.


@case(
    smoke=Config.at("defect", "smoke"),
    quick=Config.at("defect", "quick"),
    paper=Config.at("defect", "paper"),
)
def defect(config: Config) -> xr.Dataset:
    """Run the cell of this name."""
    return run(config)
