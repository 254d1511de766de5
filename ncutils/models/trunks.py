r"""Convolutional trunks under a fully connected head, as in P3: ResNet18 and a part of VGG-11.

A network is a trunk, whose features may be read, and a `Perceptron` on top of them. It is
called as the networks of `models` are, with a list of batch statistics while training.
"""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.models import layers
from ncutils.models.perceptron import Perceptron, perceptron

MOMENTUM = 0.9  # of running statistics, as in PyTorch


class Headed(eqx.Module):
    """Layers of images, then a perceptron of what they make."""

    layers: tuple
    head: Perceptron

    def trunk(self, x: Float[Array, "h w c"], seen: list | None = None) -> Float[Array, " d"]:
        """The input of the head for one image."""
        for layer in self.layers:
            x = layer(x, seen)
        return x

    def __call__(self, x: Float[Array, "h w c"], seen: list | None = None) -> Float[Array, " k"]:
        """The outputs for one image."""
        return self.head(self.trunk(x, seen))


class Normed(eqx.Module):
    """A convolution without bias, batch norm, and ReLU or nothing."""

    map: layers.Conv
    norm: layers.BatchNorm
    rectified: bool = eqx.field(static=True, default=True)

    def __call__(self, x, seen=None):
        """The image of one example."""
        x = layers.normed(self.map, self.norm, x, seen)
        return jax.nn.relu(x) if self.rectified else x


class Block(eqx.Module):
    """Two convolutions, added to the input or to a 1 × 1 convolution of it, and ReLU."""

    first: Normed
    second: Normed
    shortcut: Normed | None

    def __call__(self, x, seen=None):
        """The image of one example."""
        z = self.second(self.first(x, seen), seen)
        return jax.nn.relu(z + (x if self.shortcut is None else self.shortcut(x, seen)))


class Rectified(eqx.Module):
    """A convolution and ReLU."""

    map: layers.Conv

    def __call__(self, x, seen=None):
        """The image of one example."""
        del seen
        return jax.nn.relu(self.map(x))


class Highest(eqx.Module):
    """The largest value of each 3 × 3 pixels, in steps of two."""

    def __call__(self, x, seen=None):
        """The image of one example."""
        del seen
        u, v = (-(-size // 2) for size in x.shape[:2])
        low = jnp.pad(x, ((1, 2), (1, 2), (0, 0)), constant_values=-jnp.inf)
        windows = itertools.product(range(3), range(3))
        parts = [low[a : a + 2 * u : 2, b : b + 2 * v : 2] for a, b in windows]
        return jnp.max(jnp.stack(parts), axis=0)


class Grid(eqx.Module):
    """Means over a grid of so many rectangles a side, which may overlap, all in a row."""

    side: int = eqx.field(static=True)

    def __call__(self, x, seen=None):
        """The image of one example."""
        del seen
        rows, columns = (jnp.asarray(_windows(n, self.side), x.dtype) for n in x.shape[:2])
        return jnp.einsum("uh,vw,hwc->uvc", rows, columns, x).reshape(-1)


def _windows(size: int, parts: int) -> Float[np.ndarray, "p n"]:
    """Averages over the pixels from ⌊k n / p⌋ to ⌈(k + 1) n / p⌉, one row for each k."""
    found = np.zeros((parts, size))
    for k in range(parts):
        found[k, k * size // parts : -(-(k + 1) * size // parts)] = 1.0
    return found / found.sum(axis=1, keepdims=True)


def resnet_trunk(
    numbers: layers.Numbers,
    *,
    channels: int,
    widths: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
) -> tuple:
    """The layers of ResNet18 without its classifier; `widths[-1]` features.

    A 7 × 7 convolution in steps of two and a maximum; then blocks of two 3 × 3 convolutions,
    the first of a new width in steps of two; the mean over all pixels.

    Source: He et al. (2016), as PyTorch has it; differs in the zeros around an image of even
        side, which are TensorFlow's.
    """

    def normed(i, o, size, stride, rectified=True):
        how = {"size": size, "stride": stride, "initialisation": "he_normal", "numbers": numbers}
        norm = layers.batch_norm(o, momentum=MOMENTUM, dtype=numbers.dtype)
        return Normed(layers.conv(i, o, **how), norm, rectified)

    found, width = [normed(channels, widths[0], 7, 2), Highest()], widths[0]
    for stage, (wider, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            first, second = normed(width, wider, 3, stride), normed(wider, wider, 3, 1, False)
            shortcut = None if stride == 1 else normed(width, wider, 1, stride, False)
            found.append(Block(first, second, shortcut))
            width = wider
    return (*found, layers.Pool("all"))


def vgg_trunk(
    numbers: layers.Numbers,
    *,
    channels: int,
    stages: Sequence[Sequence[int]] = ((64,), (128,), (256, 256), (512, 512)),
    grid: int = 4,
) -> tuple:
    """The first six convolutions of VGG-11, and means over a grid: 8192 features.

    The first convolution has no bias, there is no batch norm, and a maximum over 2 × 2
    pixels stands between the stages.

    Source: P3's released code.
    """
    found, width = [], channels
    for number, stage in enumerate(stages):
        if number:
            found.append(layers.Pool("max"))
        for wider in stage:
            how = {"bias": bool(found), "initialisation": "he_normal", "numbers": numbers}
            found.append(Rectified(layers.conv(width, wider, **how)))
            width = wider
    return (*found, Grid(grid))


TRUNKS = {"resnet": resnet_trunk, "vgg": vgg_trunk}


def headed(
    trunk: str,
    *,
    side: int,
    channels: int,
    hidden: Sequence[int],
    num_classes: int,
    gain: float,
    key: PRNGKeyArray,
    **shape,
) -> Headed:
    r"""An untrained network, float32, as the paper starts it.

    Args:
        trunk: a name of `TRUNKS`. shape: its options.
        side, channels: of the images.
        hidden: widths of the head's hidden layers. num_classes: outputs.
        gain: of the uniform Glorot weights of the head, but for its first layer, which is
            uniform in $\pm 1/\sqrt{d_{in}}$.
        key: random key.

    Source: P3, Appendix D; the exception is the released code's.
    """
    low, high = jax.random.split(key)
    found = layers.drawn(
        lambda numbers: TRUNKS[trunk](numbers, channels=channels, **shape), key=low
    )
    network = Headed(found, Perceptron(()))
    image = jax.ShapeDtypeStruct((side, side, channels), jnp.float32)
    inputs = eqx.filter_eval_shape(network.trunk, image).shape[0]
    head = perceptron((inputs, *hidden, num_classes), gain=gain, key=high)
    glorot = gain * math.sqrt(6 / (inputs + hidden[0]))
    first = head.weights[0] * (1 / math.sqrt(inputs) / glorot)
    return Headed(found, Perceptron((first, *head.weights[1:])))
