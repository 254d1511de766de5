r"""P1, Figs 2c and 3c: NC1 of a trained two-layer network beside its two limiting kernels.

The network $f(x) = W^{(2)} \phi(W^{(1)} x + b^{(1)}) + b^{(2)}$ learns the two Gaussian
classes of D1, full batch, mean squared error, targets $\pm s$ (the paper has s = 1).
Every repeat has its own draw of data and weights, and the NC1 of the kernels of the same
draw beside it.

`published` is the paper's setting; `longer` takes the largest step that is safely
stable and more of them; `rich` raises s, which forces the features to move; `width`
varies $d_1$ with s fixed and with s growing as $d_1$.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from ncutils import data, kernels, metrics, models, training
from ncutils.experiments import case
from ncutils.training.checkpoint import forget_parts, part_of


@dataclass(frozen=True)
class Networks:
    """A grid of networks that are trained alike; all four cases are one.

    Attributes:
        sizes: N, samples in all; half of them in each class.
        dims: d₀.
        epochs: full-batch steps.
        learning_rate: η; None if `relative_step` decides.
        relative_step: η as a multiple of 2/λ of each run, λ the largest eigenvalue of
            (2/N)Θ of the untrained network.
        targets: pairs (s, p): the targets are ± s (d₁ / `base_width`)^p.
        widths: d₁, hidden units.
        base_width: the width at which p does not matter.
        activations: of the hidden layer.
        repeats: independent draws of data and weights.
        readout_gain: standard deviation of √d₁ W⁽²⁾.
        weight_decay: on all parameters.
        seed: of everything random.
        dtype: of the training; what is measured is computed in float64.
    """

    sizes: tuple[int, ...]
    dims: tuple[int, ...]
    epochs: int
    learning_rate: float | None = None
    relative_step: float | None = None
    targets: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    widths: tuple[int, ...] = (500,)
    base_width: int = 500
    activations: tuple[str, ...] = ("erf", "relu")
    repeats: int = 10
    readout_gain: float = 1.97
    weight_decay: float = 1e-6
    seed: int = 2024
    dtype: str = "float32"

    def __post_init__(self):
        """Refuse settings that leave the step open, or set it twice.

        Raises:
            ValueError: unless just one of `learning_rate` and `relative_step` is given.
        """
        if (self.learning_rate is None) == (self.relative_step is None):
            raise ValueError("give either learning_rate or relative_step")

    @property
    def record_at(self) -> tuple[int, ...]:
        """Epochs after which the network is measured: 0, 1, 3, 10, 32, … and the last."""
        steps = {round(10 ** (k / 2)) for k in range(2 * len(str(self.epochs)))}
        return tuple(sorted({0, self.epochs} | {e for e in steps if e < self.epochs}))


def tangent_kernel(model: models.MLP, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
    r"""Empirical NTK of a two-layer network with one output, in closed form.

    $$\Theta = 1 + H H^\top + (D D^\top) \odot (1 + X X^\top), \qquad
      D_{iu} = W^{(2)}_u\, \phi'(w_u^\top x_i + b_u).$$

    Args:
        model: a network of `models.mlp` with one hidden layer and one output.
        X: n × d inputs.

    Returns:
        n × n kernel, with respect to all weights and biases.
    """
    first, last = model.layers
    slope = jax.vmap(jax.vmap(jax.grad(models.ACTIVATIONS[model.activation])))
    D = slope(jax.vmap(first)(X)) * last.weight[0][None, :]
    H = models.features(model, X)
    return 1.0 + H @ H.T + (D @ D.T) * (1.0 + X @ X.T)


def nc1_standard_error(H: Float[Array, "n p"], y: Int[Array, " n"]) -> Float[Array, ""]:
    r"""Standard error of $\log_{10} \mathcal{NC}_1$ from the finite number of hidden units.

    With $a_u, b_u$ the variances within and between classes of unit u and
    $R = \sum a_u / \sum b_u$, the delta method gives
    $\sqrt{p\,\mathrm{Var}_u(a_u - R\,b_u)} / (\ln 10 \cdot \sum_u a_u)$.

    Args:
        H: n × p features of an untrained network, whose units are independent.
        y: n labels, 0 or 1.

    Returns:
        A scalar, in units of $\log_{10}$.
    """
    means = jnp.stack([jnp.mean(H, axis=0, where=(y == c)[:, None]) for c in (0, 1)])
    within = jnp.mean((H - means[y]) ** 2, axis=0)
    between = jnp.var(means, axis=0)
    ratio = jnp.sum(within) / jnp.sum(between)
    scatter = jnp.sqrt(H.shape[1] * jnp.var(within - ratio * between))
    return scatter / (math.log(10) * jnp.sum(within))


def _classes(n: int) -> Int[Array, " n"]:
    return (jnp.arange(n) >= n // 2).astype(int)


def measure(model, start, X, targets) -> dict[str, Array]:
    """What is recorded along training, in float64; classes are those of the data."""
    H, H0 = (models.features(net, X).astype(float) for net in (model, start))
    error = models.logits(model, X).astype(float) - targets
    weight, weight0 = (net.layers[0].weight.astype(float) for net in (model, start))
    return {
        "nc1": jnp.log10(metrics.nc1(H, _classes(len(X)), num_classes=2)),
        "loss": jnp.mean(error**2) / jnp.mean(targets.astype(float) ** 2),
        "accuracy": jnp.mean((error + targets) * targets > 0),
        "features_moved": jnp.linalg.norm(H - H0) / jnp.linalg.norm(H0),
        "weights_moved": jnp.linalg.norm(weight - weight0) / jnp.linalg.norm(weight0),
    }


def _keys(config: Networks, *numbers: int):
    key = jax.random.key(config.seed)
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return jax.random.split(key, config.repeats)


@functools.partial(jax.jit, static_argnames=("N", "d0"))
def _inputs(keys, *, N: int, d0: int) -> Float[Array, "r n d"]:
    """One draw of D1(N, d₀) for each key."""
    return jax.vmap(lambda key: data.two_gaussians(sizes=(N // 2, N // 2), dim=d0, key=key)[0])(
        keys
    )


@functools.partial(jax.jit, static_argnames="activation")
def _limits(X: Float[Array, "r n d"], *, activation: str) -> dict[str, Float[Array, " r"]]:
    """log10 NC1 of the inputs and of both limiting kernels, for each repeat."""
    y = _classes(X.shape[1])

    def one(x):
        nngp, ntk = kernels.class_blocks(x, y, num_classes=2, activation=activation)
        return {
            "data": jnp.log10(metrics.nc1(x, y, num_classes=2)),
            "nngp": jnp.log10(metrics.blocks_nc1(nngp).ratio),
            "ntk": jnp.log10(metrics.blocks_nc1(ntk).ratio),
        }

    return jax.lax.map(one, X)


@functools.partial(jax.jit, static_argnames=("widths", "gain", "dtype"))
def _layers(keys, *, widths: tuple[int, ...], gain: float, dtype: str):
    """The layers of one untrained network for each key, stacked; any activation."""

    def make(key):
        gains, kind = (1.0, gain), jnp.dtype(dtype)
        return models.mlp(widths, activation="erf", gains=gains, dtype=kind, key=key).layers

    return jax.vmap(make)(keys)


def _signs(config: Networks, N: int, *, shuffled: bool = False) -> Float[Array, "r n 1"]:
    """The targets ±1 of each repeat: those of the classes, or dealt out at random."""
    own = jnp.broadcast_to(2.0 * _classes(N)[:, None] - 1.0, (config.repeats, N, 1))
    if not shuffled:
        return own
    return jax.vmap(jax.random.permutation)(_keys(config, 2, N), own)


@eqx.filter_jit
@eqx.filter_vmap
def _look(network, X):
    """Tangent kernel, outputs and standard error of NC1 of one network of a stack."""
    H = models.features(network, X).astype(float)
    error = nc1_standard_error(H, _classes(len(X)))
    return tangent_kernel(network, X).astype(float), models.logits(network, X)[:, 0], error


def _kernel_regime(values, vectors, residual, rates, epochs) -> np.ndarray:
    r"""Squared residuals if Θ never moved: mean of $((I - \eta \tfrac2N \Theta)^t r_0)^2$."""
    along = np.einsum("rnk,rn->rk", vectors, residual)
    decay = 1.0 - rates[:, None] * values
    with np.errstate(over="ignore"):  # beyond 2/λ the prediction grows without bound
        return np.array([np.mean((decay**t * along) ** 2, axis=1) for t in epochs])


def _train(
    config: Networks, networks, X, targets, label: str, checkpoint: Path | None
) -> dict[str, np.ndarray]:
    """Train all repeats of one point of the grid and say what became of them."""
    N = X.shape[1]
    before, outputs, errors = map(np.asarray, _look(networks, X))
    values, vectors = np.linalg.eigh(2 / N * before)
    fixed, relative = config.learning_rate, config.relative_step
    step = relative * 2 / values[:, -1] if fixed is None else fixed
    rates = np.broadcast_to(step, (config.repeats,)).astype(float)
    fitted = training.fit_ensemble(
        networks,
        X,
        targets,
        training.Recipe(float(rates[0]), config.epochs, weight_decay=config.weight_decay),
        learning_rates=jnp.asarray(rates),
        at_once=None if N <= 128 else 1,  # larger ones run faster one by one, out of the cache
        measure=measure,
        record_at=config.record_at,
        checkpoint=part_of(checkpoint, label),
        checkpoint_every=config.epochs,
        progress=label,
    )
    after = np.asarray(_look(fitted.model, X)[0])
    wanted = np.asarray(targets, float)[..., 0]
    linear = _kernel_regime(values, vectors, outputs - wanted, rates, config.record_at)
    moved, size = (np.linalg.norm(K, axis=(1, 2)) for K in (after - before, before))
    return {
        **fitted.records,
        "kernel_regime_loss": linear / np.mean(wanted**2),
        "kernel_moved": moved / size,
        "relative_step": rates * values[:, -1] / 2,
        "nc1_standard_error": errors,
    }


def train(
    config: Networks, *, random_labels: bool = False, checkpoint: Path | None = None
) -> xr.Dataset:
    r"""Train every network of a grid.

    Args:
        config: the grid.
        random_labels: also train on the last target with labels dealt out at random.
        checkpoint: beside it, each training keeps its end, for a run that was stopped.

    Returns:
        A dataset; NC1 values are $\log_{10}$.
        Along training, with dimensions (activation, N, d0, width, target, epoch, repeat):
        `nc1`, `loss` and `kernel_regime_loss` (both divided by s²; the second as if Θ
        stayed what it was), `accuracy`, `features_moved`, `weights_moved`.
        Once a run: `kernel_moved`, `relative_step` (η λ / 2 at the start),
        `nc1_standard_error` (at the start). Once a draw (activation, N, d0, repeat):
        `data`, `nngp`, `ntk`, and `nc1_random`, that of the network of the first width
        trained on random labels with the last target, if asked for.
    """

    def untrained(activation, N, d0, width):
        keys = _keys(config, 1, N, d0, width)
        options = {"gain": config.readout_gain, "dtype": config.dtype}
        return models.MLP(_layers(keys, widths=(d0, width, 1), **options), activation)

    draws, runs = [], []
    for activation in config.activations:
        for N in config.sizes:
            for d0 in config.dims:
                X = _inputs(_keys(config, 0, N, d0), N=N, d0=d0)
                draw = _limits(X, activation=activation)
                X = X.astype(config.dtype)
                for width in config.widths:
                    networks = untrained(activation, N, d0, width)
                    for s, power in config.targets:
                        T = s * (width / config.base_width) ** power * _signs(config, N)
                        label = f"{activation} N={N} d0={d0} d1={width} s={s:g}"
                        runs.append(
                            _train(config, networks, X, T.astype(config.dtype), label, checkpoint)
                        )
                if random_labels:
                    networks = untrained(activation, N, d0, config.widths[0])
                    T = config.targets[-1][0] * _signs(config, N, shuffled=True)
                    label = f"{activation} N={N} d0={d0} random labels"
                    trained = _train(config, networks, X, T.astype(config.dtype), label, checkpoint)
                    draw["nc1_random"] = trained["nc1"][-1]
                draws.append(draw)
    forget_parts(checkpoint)
    coords = {
        "activation": list(config.activations),
        "N": list(config.sizes),
        "d0": list(config.dims),
        "width": list(config.widths),
        "target": [s for s, _ in config.targets],
        "epoch": list(config.record_at),
        "repeat": np.arange(config.repeats),
        "power": ("target", [power for _, power in config.targets]),
    }
    grid, per_run = ("activation", "N", "d0"), ("width", "target")

    def gather(rows, name, dims):
        dims = (*dims, *(("epoch",) if rows[0][name].ndim == 2 else ()), "repeat")
        shape = tuple(len(coords[dim]) for dim in dims)
        return dims, np.array([row[name] for row in rows], float).reshape(shape)

    variables = {name: gather(draws, name, grid) for name in draws[0]}
    variables |= {name: gather(runs, name, (*grid, *per_run)) for name in runs[0]}
    return xr.Dataset(variables, coords)


def largest(values: xr.DataArray) -> tuple[float, float]:
    """The largest mean over repeats on a grid, and the standard error of that mean."""
    mean, count = values.mean("repeat"), values.sizes["repeat"]
    at = mean.argmax(mean.dims) if mean.ndim else {}
    return float(mean[at]), float(values.std("repeat", ddof=1)[at] / math.sqrt(count))


# --- the cases ------------------------------------------------------------------------------

D0 = (1, 2, 8, 32, 128)
SMALL = {"widths": (64,), "base_width": 64, "repeats": 3}
PUBLISHED = {"dims": D0, "epochs": 1000, "learning_rate": 1e-3}
LONGER = {"dims": D0, "epochs": 4000, "relative_step": 0.9}
RICH = {"dims": D0, "epochs": 500, "relative_step": 0.3}
WIDTH = {"dims": (8,), "relative_step": 0.9, "activations": ("erf",)}
WIDTH |= {"targets": ((1.0, 0.0), (10.0, 1.0))}  # s fixed, and s growing as the width


def sized(*sizes: float | int) -> tuple[tuple[float, float], ...]:
    """Targets ± s at every width, for each of these s."""
    return tuple((float(s), 0.0) for s in sizes)


@case(
    smoke=Networks((32,), **{**PUBLISHED, **SMALL, "dims": (1, 8), "epochs": 20}),
    quick=Networks((128, 256), **PUBLISHED),
    paper=Networks((128, 256, 512, 1024), **PUBLISHED),
)
def published(config: Networks, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Figs 2c and 3c: the paper's own settings."""
    return train(config, checkpoint=checkpoint)


@case(
    smoke=Networks((32,), **{**LONGER, **SMALL, "dims": (8,), "epochs": 20}),
    quick=Networks((128,), **LONGER),
    paper=Networks((128, 512), **LONGER),
)
def longer(config: Networks, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Four times as many steps, each 0.9 of the largest stable one."""
    return train(config, checkpoint=checkpoint)


@case(
    smoke=Networks((32,), **{**RICH, **SMALL, "dims": (8,), "epochs": 20}, targets=sized(1, 100)),
    quick=Networks((128,), **RICH, targets=sized(1, 30, 100)),
    paper=Networks((128, 512), **RICH, targets=sized(1, 3, 10, 30, 100)),
)
def rich(config: Networks, *, checkpoint: Path | None = None) -> xr.Dataset:
    """Larger targets, which force the features to move; the largest dealt out at random too."""
    return train(config, random_labels=True, checkpoint=checkpoint)


@case(
    smoke=Networks((32,), **{**WIDTH, **SMALL, "widths": (32, 64)}, epochs=20),
    quick=Networks((128,), **WIDTH, widths=(125, 250, 500, 1000, 2000), epochs=500),
    paper=Networks((128,), **WIDTH, widths=(125, 250, 500, 1000, 2000), epochs=500),
)
def width(config: Networks, *, checkpoint: Path | None = None) -> xr.Dataset:
    """How far the features move at growing width."""
    return train(config, checkpoint=checkpoint)
