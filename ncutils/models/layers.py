r"""The parts of networks: affine maps, convolutions, batch norm, and how they start.

A layer acts on one example, `layer(x, seen)`. Where batches matter, `seen` is a list, the
call runs inside `jax.vmap(..., axis_name=BATCH)`, and every batch norm uses the mean and
variance of the batch and appends them to the list. Without a list it uses its running
statistics, and a layer is a plain function of one example.
"""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils._fast import convolution

BATCH = "batch"  # the name of the axis over which batch norm averages

INITIALISATIONS = ("lecun_normal", "uniform", "he_normal", "pytorch")


class Dense(eqx.Module):
    r"""An affine map $x \mapsto W x + b$ of one example, or a linear one, without b."""

    weight: Float[Array, "p d"]
    bias: Float[Array, " p"] | None = None

    def __call__(self, x: Float[Array, " d"], seen: list | None = None) -> Float[Array, " p"]:
        """The image of one example."""
        del seen
        return self.weight @ x if self.bias is None else self.weight @ x + self.bias


class Conv(eqx.Module):
    r"""A convolution with zeros around, $y_{uvo} = b_o + \sum_{abi} K_{abio}\, x_{su+a,sv+b,i}$.

    Padding as in TensorFlow's "SAME": the output has ⌈h/s⌉ × ⌈w/s⌉ pixels. Computed as a
    product of shifted slices with the kernel as a matrix, which on a CPU stays fast when
    kernels differ between the members of an ensemble or gradients between samples.
    Gradients of many outputs at one sample go another way, see `_convolution`.
    """

    weight: Float[Array, "k k i o"]
    bias: Float[Array, " o"] | None
    stride: int = eqx.field(static=True, default=1)

    def __call__(self, x: Float[Array, "h w i"], seen: list | None = None) -> Float[Array, "u v o"]:
        """The image of one example."""
        del seen
        return convolution.affine(x, self.weight, None, self.bias, self.stride)


class Statistics(eqx.Module):
    """The running mean and variance of a batch norm: part of the network, but not trained."""

    mean: Float[Array, " c"]
    variance: Float[Array, " c"]


class BatchNorm(eqx.Module):
    r"""$y = g\,(x - \mu) / \sqrt{v + \epsilon} + b$ for each channel.

    $\mu$ and $v$ are those of the batch while training, and running averages, kept with
    factor `momentum`, otherwise. The variance is divided by the number of values, not by
    one less, in both.

    Source: the layer of P2's released code.
    """

    weight: Float[Array, " c"]
    bias: Float[Array, " c"]
    running: Statistics
    momentum: float = eqx.field(static=True, default=0.99)
    epsilon: float = eqx.field(static=True, default=1e-5)

    def __call__(self, x: Float[Array, "*hw c"], seen: list | None = None) -> Float[Array, "*hw c"]:
        """The image of one example."""
        used = self.running
        if seen is not None:
            pixels = tuple(range(x.ndim - 1))
            mean = jax.lax.pmean(x.mean(axis=pixels), BATCH)
            squares = jnp.square(x - convolution.channels(mean, x)).mean(axis=pixels)
            used = Statistics(mean, jax.lax.pmean(squares, BATCH))
            seen.append(used)
        scale, shift = self.affine(used)
        return x * convolution.channels(scale, x) + convolution.channels(shift, x)

    def affine(self, used: Statistics) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        """The factor and the constant of each channel, for given statistics."""
        scale = self.weight * jax.lax.rsqrt(used.variance + self.epsilon)
        return scale, self.bias - used.mean * scale

    def moved(self, batch: Statistics) -> "BatchNorm":
        """The same layer, its running statistics moved towards those of a batch."""
        m = self.momentum
        running = jax.tree.map(lambda old, new: m * old + (1 - m) * new, self.running, batch)
        return eqx.tree_at(lambda layer: layer.running, self, running)


def normed(map: Conv | Dense, norm: BatchNorm, x, seen: list | None = None):
    """A map followed by batch norm. With running statistics, a convolution and its norm are one.

    Args:
        map, norm: the two layers.
        x: one example.
        seen: as for a layer.

    Returns:
        `norm(map(x), seen)`.
    """
    if seen is not None or type(map) is not Conv:
        return norm(map(x), seen)
    scale, shift = norm.affine(norm.running)
    shift = shift if map.bias is None else shift + scale * map.bias
    return convolution.affine(x, map.weight, scale, shift, map.stride)


class Pool(eqx.Module):
    """Fewer pixels.

    Attributes:
        kind: "max" or "mean" of each 2 × 2; "overlapping", the largest of each 3 × 3 in steps
            of two; "grid", means over a grid of rectangles, which may overlap, all in a row;
            "all", the mean of all; "flat", all in a row.
        side: of the grid, in rectangles.
    """

    kind: str = eqx.field(static=True)
    side: int = eqx.field(static=True, default=1)

    def __call__(self, x: Float[Array, "h w c"], seen: list | None = None) -> Float[Array, "..."]:
        """The image of one example."""
        del seen
        if self.kind == "all":
            return x.mean(axis=(0, 1))
        if self.kind == "flat":
            return x.reshape(-1)
        if self.kind == "overlapping":
            u, v = (-(-size // 2) for size in x.shape[:2])
            low = jnp.pad(x, ((1, 2), (1, 2), (0, 0)), constant_values=-jnp.inf)
            windows = itertools.product(range(3), range(3))
            parts = [low[a : a + 2 * u : 2, b : b + 2 * v : 2] for a, b in windows]
            return jnp.max(jnp.stack(parts), axis=0)
        if self.kind == "grid":
            rows, columns = (jnp.asarray(_windows(n, self.side), x.dtype) for n in x.shape[:2])
            return jnp.einsum("uh,vw,hwc->uvc", rows, columns, x).reshape(-1)
        h, w, c = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
        squares = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, c)
        return squares.max(axis=(1, 3)) if self.kind == "max" else squares.mean(axis=(1, 3))


def _windows(size: int, parts: int) -> Float[np.ndarray, "p n"]:
    """Averages over the pixels from ⌊k n / p⌋ to ⌈(k + 1) n / p⌉, one row for each k."""
    averages = np.zeros((parts, size))
    for k in range(parts):
        averages[k, k * size // parts : -(-(k + 1) * size // parts)] = 1.0
    return averages / averages.sum(axis=1, keepdims=True)


def batch_norm(channels: int, *, momentum: float = 0.99, dtype=jnp.float32) -> BatchNorm:
    """A batch norm that does nothing yet: g = 1, b = 0, running mean 0 and variance 1."""
    one, zero = jnp.ones(channels, dtype), jnp.zeros(channels, dtype)
    return BatchNorm(one, zero, Statistics(zero, one), momentum)


class Numbers:
    """Uniform random numbers between -1 and 1, handed out in order; without any, it counts."""

    def __init__(self, values: Float[Array, " n"] | None, dtype):
        self.values, self.dtype, self.used = values, dtype, 0

    def take(self, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """The next ones, in this shape."""
        start, self.used = self.used, self.used + math.prod(shape)
        if self.values is None:
            return jnp.zeros(shape, self.dtype)
        return self.values[start : self.used].reshape(shape)


def drawn(build, *, dtype=jnp.float32, key: PRNGKeyArray):
    """Whatever `build(numbers)` makes, with all its random numbers drawn by one call.

    One call for each kernel would take most of the time that a network takes to compile.

    Args:
        build: takes a `Numbers` and makes layers from it.
        dtype: of the numbers.
        key: random key.

    Returns:
        What `build` returns.
    """
    count = Numbers(None, dtype)
    jax.eval_shape(lambda: build(count))
    low = -1 + float(jnp.finfo(dtype).epsneg)  # -1 would become minus infinity under erf⁻¹
    return build(Numbers(jax.random.uniform(key, (count.used,), dtype, low, 1.0), dtype))


def _kernel(shape, *, fan_in, fan_out, pixels, initialisation, numbers):
    """A kernel; `pixels` is the number of taps of a convolution, 1 for a matrix."""
    v = numbers.take(shape)
    if initialisation == "lecun_normal":
        # normal cut at two standard deviations, scaled to variance 1 / fan_in
        cut = math.sqrt(2) * jax.lax.erf_inv(v * math.erf(math.sqrt(2)))
        return cut * (1 / math.sqrt(fan_in) / 0.87962566103423978)
    if initialisation == "he_normal":
        return jax.lax.erf_inv(v) * (math.sqrt(2) * math.sqrt(2 / fan_out))
    bound = 1 / math.sqrt(fan_in)
    if initialisation == "uniform":
        bound = math.sqrt(3 / (pixels * fan_in))
    return bound * v


def _bias(size, *, fan_in, features, initialisation, numbers):
    if initialisation == "pytorch":
        return numbers.take((size,)) / math.sqrt(fan_in)
    if initialisation == "uniform" and features is not None:
        return (numbers.take((size,)) + 1) / (2 * math.sqrt(features))
    return jnp.zeros(size, numbers.dtype)


def check_initialisation(initialisation: str) -> None:
    """Refuse a name that is not in `INITIALISATIONS`.

    Raises:
        ValueError: naming those there are.
    """
    if initialisation not in INITIALISATIONS:
        raise ValueError(
            f"unknown initialisation {initialisation!r}: choose one of {', '.join(INITIALISATIONS)}"
        )


def dense(
    d: int,
    p: int,
    *,
    initialisation: str,
    features: int | None = None,
    numbers: Numbers,
) -> Dense:
    r"""An affine map from d to p numbers.

    | initialisation | weights | biases |
    |---|---|---|
    | `lecun_normal` | $\mathcal N(0, 1/\text{fan}_{in})$, cut at 2σ | 0 |
    | `uniform` | $U(\pm\sqrt{3/(k^2\,\text{fan}_{in})})$, k × k taps | $U[0, 1/\sqrt n)$ |
    | `he_normal` | $\mathcal N(0, 2/\text{fan}_{out})$ | 0 |
    | `pytorch` | $U(\pm1/\sqrt{\text{fan}_{in}})$ | $U(\pm1/\sqrt{\text{fan}_{in}})$ |

    The first three are those of P2's experiments; `uniform` is what its released code
    calls "torch". `pytorch` is what PyTorch's own layers start from.

    Args:
        d, p: numbers that go in and come out.
        initialisation: one of `INITIALISATIONS`.
        features: n of the biases under `uniform`; they are 0 if it is left out.
        numbers: where the random numbers come from, see `drawn`; their type is that of
            the parameters.

    Returns:
        The layer.

    Raises:
        ValueError: for an unknown initialisation.

    Source: P2, Appendix C and released code (differs from PyTorch, as the table says).
    """
    check_initialisation(initialisation)
    how = {"initialisation": initialisation, "numbers": numbers, "fan_in": d}
    return Dense(_kernel((p, d), fan_out=p, pixels=1, **how), _bias(p, features=features, **how))


def conv(
    i: int,
    o: int,
    *,
    size: int = 3,
    stride: int = 1,
    bias: bool = False,
    initialisation: str,
    features: int | None = None,
    numbers: Numbers,
) -> Conv:
    """A convolution from i to o channels; fans count the `size`² taps. Arguments as for `dense`.

    Args:
        i, o: channels that go in and come out.
        size: pixels of the kernel's side.
        stride: step between the pixels that come out.
        bias: whether there is one.
        initialisation, features, numbers: as for `dense`.

    Returns:
        The layer.

    Raises:
        ValueError: for an unknown initialisation.

    Source: as for `dense`.
    """
    check_initialisation(initialisation)
    taps = size * size
    how = {"initialisation": initialisation, "numbers": numbers, "fan_in": i * taps}
    weight = _kernel((size, size, i, o), fan_out=o * taps, pixels=taps, **how)
    return Conv(weight, _bias(o, features=features, **how) if bias else None, stride)
