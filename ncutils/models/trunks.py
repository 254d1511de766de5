r"""Convolutional trunks under a fully connected head, as in P3: ResNet18 and a part of VGG-11.

A network is a trunk, whose features may be read, and an `MLP` without biases on top of them.
It is called as the networks of `models` are, with a list of batch statistics while training.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.models import layers
from ncutils.models.convnets import Residual, Unit
from ncutils.models.networks import MLP, unbiased_mlp

MOMENTUM = 0.9  # of running statistics, as in PyTorch


class Headed(eqx.Module):
    """Layers of images, then a fully connected network of what they make."""

    layers: tuple
    head: MLP

    def trunk(self, x: Float[Array, "h w c"], seen: list | None = None) -> Float[Array, " d"]:
        """The input of the head for one image."""
        for layer in self.layers:
            x = layer(x, seen)
        return x

    def __call__(self, x: Float[Array, "h w c"], seen: list | None = None) -> Float[Array, " k"]:
        """The outputs for one image."""
        return self.head(self.trunk(x, seen))


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
        return Unit(layers.conv(i, o, **how), norm, rectified)

    made, width = [normed(channels, widths[0], 7, 2), layers.Pool("overlapping")], widths[0]
    for stage, (wider, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            first, second = normed(width, wider, 3, stride), normed(wider, wider, 3, 1, False)
            shortcut = None if stride == 1 else normed(width, wider, 1, stride, False)
            made.append(Residual(first, second, shortcut))
            width = wider
    return (*made, layers.Pool("all"))


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
    made, width = [], channels
    for number, stage in enumerate(stages):
        if number:
            made.append(layers.Pool("max"))
        for wider in stage:
            how = {"bias": bool(made), "initialisation": "he_normal", "numbers": numbers}
            made.append(Unit(layers.conv(width, wider, **how), None))
            width = wider
    return (*made, layers.Pool("grid", grid))


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

    Returns:
        The network.

    Source: P3, Appendix D; the exception is the released code's.
    """
    low, high = jax.random.split(key)
    made = layers.drawn(lambda numbers: TRUNKS[trunk](numbers, channels=channels, **shape), key=low)
    bare = Headed(made, MLP((), "relu"))
    image = jax.ShapeDtypeStruct((side, side, channels), jnp.float32)
    inputs = eqx.filter_eval_shape(bare.trunk, image).shape[0]
    head = unbiased_mlp((inputs, *hidden, num_classes), gain=gain, key=high)
    glorot = gain * math.sqrt(6 / (inputs + hidden[0]))
    first = head.weights[0] * (1 / math.sqrt(inputs) / glorot)
    return Headed(made, MLP((layers.Dense(first), *head.layers[1:]), "relu"))
