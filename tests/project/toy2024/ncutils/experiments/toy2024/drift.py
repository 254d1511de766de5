"""Two classes whose means drift apart while their spread stays."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import xarray as xr

from ncutils import metrics
from ncutils.experiments import case


@dataclass(frozen=True)
class Drift:
    """Two Gaussian classes at several distances."""

    seeds: tuple[int, ...]
    per_class: int
    distances: tuple[float, ...] = (1.0, 2.0, 4.0)


@case(
    smoke=Drift(seeds=(0, 1, 2), per_class=50),
    quick=Drift(seeds=(0, 1, 2), per_class=500),
    paper=Drift(seeds=tuple(range(10)), per_class=5000),
)
def apart(config: Drift) -> xr.Dataset:
    """NC1 of the classes, `nc1` (repeat, distance)."""
    y = jnp.repeat(jnp.arange(2), config.per_class)
    rows = []
    for seed in config.seeds:
        noise = jax.random.normal(jax.random.key(seed), (len(y), 3))
        means = [jnp.where(y[:, None] == 1, float(d), 0.0) for d in config.distances]
        rows.append([float(metrics.nc1(noise + mean, y, num_classes=2)) for mean in means])
    coords = {"repeat": list(config.seeds), "distance": list(config.distances)}
    return xr.Dataset({"nc1": (("repeat", "distance"), rows)}, coords=coords)
