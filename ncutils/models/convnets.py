r"""Convolutional networks with batch norm: residual, VGG, densely connected, and a plain small one.

All are made of the parts in `layers`, take images of h × w × channels, and hold a list of
layers up to the features and an affine classifier on top of them. Their constructors
differ in the list alone.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.models import layers as parts
from ncutils.models.layers import BatchNorm, Conv, Dense, Pool, normed


class ConvNet(eqx.Module):
    r"""Layers up to the last hidden one, and an affine classifier, $f(x) = W h(x) + b$."""

    layers: tuple
    classifier: Dense

    def features(self, x: Float[Array, "..."], seen: list | None = None) -> Float[Array, " n"]:
        """The last hidden layer, after its activation and pooling."""
        for layer in self.layers:
            x = layer(x, seen)
        return x

    def readout(self, h: Float[Array, " n"]) -> Float[Array, " c"]:
        """The outputs for given features."""
        return self.classifier(h)

    def __call__(self, x: Float[Array, "..."], seen: list | None = None) -> Float[Array, " c"]:
        """The outputs for one example."""
        return self.readout(self.features(x, seen))


# The order of the fields is the order in which batch norms are met: `models` relies on it.


class Unit(eqx.Module):
    """A map, batch norm or none, ReLU or nothing."""

    map: Conv | Dense
    norm: BatchNorm | None
    rectified: bool = eqx.field(static=True, default=True)

    def __call__(self, x, seen=None):
        """The image of one example."""
        x = self.map(x) if self.norm is None else normed(self.map, self.norm, x, seen)
        return jax.nn.relu(x) if self.rectified else x


class Residual(eqx.Module):
    """Two convolutions with batch norm, added to the input or to a 1 × 1 convolution of it."""

    first: Unit
    second: Unit
    shortcut: Unit | Conv | None

    def __call__(self, x, seen=None):
        """The image of one example."""
        z = self.second(self.first(x, seen), seen)
        return jax.nn.relu(z + (x if self.shortcut is None else self.shortcut(x, seen)))


class Before(eqx.Module):
    """Batch norm and ReLU, then a convolution; the last norm of a network has none."""

    norm: BatchNorm
    map: Conv | None

    def __call__(self, x, seen=None):
        """The image of one example."""
        x = jax.nn.relu(self.norm(x, seen))
        return x if self.map is None else self.map(x)


class Bottleneck(eqx.Module):
    """A 1 × 1 and a 3 × 3 convolution, each after norm and ReLU; what comes out joins the input."""

    squeeze: Before
    grow: Before

    def __call__(self, x, seen=None):
        """The image of one example."""
        return jnp.concatenate([x, self.grow(self.squeeze(x, seen), seen)], axis=-1)


class _Maker:
    """Makes layers, each with the same options and the next random numbers."""

    def __init__(self, numbers, *, momentum, dtype, **options):
        self._norm = {"momentum": momentum, "dtype": dtype}
        self._options = {"numbers": numbers, **options}

    def conv(self, i, o, **options):
        return parts.conv(i, o, **{**self._options, **options})

    def dense(self, d, p):
        return parts.dense(d, p, **self._options)

    def norm(self, channels):
        return parts.batch_norm(channels, **self._norm)

    def unit(self, i, o, **options):
        return Unit(self.conv(i, o, **options), self.norm(o))

    def before(self, i, o, **options):
        return Before(self.norm(i), self.conv(i, o, **options))


def _made(build, *, sizes, dtype, key, **options) -> ConvNet:
    """The network whose layers and classifier `build(maker)` returns."""
    parts.check_initialisation(options["initialisation"])
    if min(sizes) < 1:
        raise ValueError(f"numbers of channels, blocks and classes are at least 1, not {sizes}")

    def network(numbers):
        layers, classifier = build(_Maker(numbers, dtype=dtype, **options))
        return ConvNet(tuple(layers), classifier)

    return parts.drawn(network, dtype=dtype, key=key)


def resnet(
    widths: Sequence[int] = (16, 32, 64),
    blocks: Sequence[int] = (3, 3, 3),
    *,
    channels: int = 1,
    num_classes: int = 10,
    initialisation: str = "lecun_normal",
    momentum: float = 0.99,
    dtype=jnp.float32,
    key: PRNGKeyArray,
) -> ConvNet:
    """A residual network for small images: ResNet20 as it stands.

    A 3 × 3 convolution to the first width; for every width its number of blocks of two
    3 × 3 convolutions, the first of a new width with stride 2 and beside it a 1 × 1
    convolution with bias as shortcut; batch norm after every convolution but that one;
    the mean over all pixels gives n = `widths[-1]` features.

    Args:
        widths: channels of the stages. blocks: blocks in each.
        channels: channels of the image.
        num_classes: C.
        initialisation: one of `layers.INITIALISATIONS`.
        momentum: factor of the running statistics of batch norm.
        dtype: of all parameters; float32 unless told otherwise, whatever JAX's default.
        key: random key.

    Returns:
        The network.

    Raises:
        ValueError: for an unknown initialisation, a size below 1, or as many widths as
            blocks not being given.

    Source: P2 Appendix C and released code. Differs from He et al. (2016), whose
        shortcuts have no parameters.
    """
    if len(widths) != len(blocks) or not widths:
        raise ValueError(f"each width needs its number of blocks: got {widths} and {blocks}")
    sizes = (*widths, *blocks, channels, num_classes)
    options = {"initialisation": initialisation, "momentum": momentum, "dtype": dtype}

    def build(make):
        layers, width = [make.unit(channels, widths[0])], widths[0]
        for stage, (wider, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                # P2's "uniform" biases are those of affine maps; the shortcut's start at zero
                options = {"size": 1, "stride": stride, "bias": True, "features": None}
                shortcut = make.conv(width, wider, **options) if stride == 2 else None
                first = make.unit(width, wider, stride=stride)
                second = Unit(make.conv(wider, wider), make.norm(wider), rectified=False)
                layers.append(Residual(first, second, shortcut))
                width = wider
        return [*layers, Pool("all")], make.dense(width, num_classes)

    return _made(build, features=widths[-1], sizes=sizes, key=key, **options)


def resnet20(*, key: PRNGKeyArray, **options) -> ConvNet:
    """ResNet20 with 16, 32 and 64 channels and n = 64 features; options as for `resnet`."""
    return resnet(key=key, **options)


VGG_STAGES = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}


def vgg(
    depth: int,
    thin: int = 1,
    *,
    channels: int = 1,
    num_classes: int = 10,
    hidden: Sequence[int] = (512, 256),
    initialisation: str = "lecun_normal",
    momentum: float = 0.9,
    dtype=jnp.float32,
    key: PRNGKeyArray,
) -> ConvNet:
    """VGG11 or VGG16 for images of 32 × 32, with batch norm and without dropout.

    Every stage of 3 × 3 convolutions ends in a 2 × 2 maximum; two affine layers of 512
    and 256 follow. Batch norm and ReLU after each of all these; n = 256 features.

    Args:
        depth: 11 or 16.
        thin: divides all widths, for a network to try things with.
        hidden: widths of the affine layers.
        channels, num_classes, initialisation, momentum, dtype, key: as for `resnet`.

    Returns:
        The network.

    Raises:
        ValueError: for another depth, and as for `resnet`.

    Source: P2 Appendix C and released code.
    """
    if depth not in VGG_STAGES:
        raise ValueError(f"VGG{depth} is not here: choose one of {', '.join(map(str, VGG_STAGES))}")
    hidden = [width // thin for width in hidden]
    sizes = (*hidden, channels, num_classes)
    options = {"initialisation": initialisation, "momentum": momentum, "dtype": dtype}

    def build(make):
        layers, width = [], channels
        for stage in VGG_STAGES[depth]:
            for wider in (full // thin for full in stage):
                layers.append(make.unit(width, wider, bias=True))
                width = wider
            layers.append(Pool("max"))
        layers.append(Pool("flat"))
        for wider in hidden:
            layers.append(Unit(make.dense(width, wider), make.norm(wider)))
            width = wider
        return layers, make.dense(width, num_classes)

    return _made(build, features=hidden[-1], sizes=sizes, key=key, **options)


def vgg11(thin: int = 1, *, key: PRNGKeyArray, **options) -> ConvNet:
    """VGG11 with batch norm and n = 256 features; options as for `vgg`."""
    return vgg(11, thin, key=key, **options)


def vgg16(thin: int = 1, *, key: PRNGKeyArray, **options) -> ConvNet:
    """VGG16 with batch norm and n = 256 features; options as for `vgg`."""
    return vgg(16, thin, key=key, **options)


def densenet40(
    blocks: Sequence[int] = (6, 6, 6),
    growth: int = 12,
    *,
    squeeze: int = 2,
    channels: int = 1,
    num_classes: int = 10,
    initialisation: str = "lecun_normal",
    momentum: float = 0.99,
    dtype=jnp.float32,
    key: PRNGKeyArray,
) -> ConvNet:
    """A densely connected network with bottlenecks; n = 132 features as it stands.

    A 3 × 3 convolution to `squeeze`·`growth` channels; in every block each layer adds
    `growth` channels through a bottleneck of `squeeze`·`growth`; between blocks a 1 × 1
    convolution halves the channels and a mean over 2 × 2 the sides.

    Args:
        blocks: layers of each block.
        growth: channels that a layer adds.
        squeeze: width of a bottleneck, in units of `growth`.
        channels, num_classes, initialisation, momentum, dtype, key: as for `resnet`.

    Returns:
        The network.

    Raises:
        ValueError: as for `resnet`.

    Source: P2 Appendix C and released code.
    """
    narrow = squeeze * growth
    counts = [narrow]
    for block, count in enumerate(blocks):
        counts.append((counts[-1] if block == 0 else counts[-1] // 2) + count * growth)
    sizes = (*blocks, growth, squeeze, channels, num_classes)
    options = {"initialisation": initialisation, "momentum": momentum, "dtype": dtype}

    def build(make):
        layers, width = [make.conv(channels, narrow)], narrow
        for block, count in enumerate(blocks):
            if block:
                layers += [make.before(width, width // 2, size=1), Pool("mean")]
                width //= 2
            for _ in range(count):
                thin = make.before(width, narrow, size=1)
                layers.append(Bottleneck(thin, make.before(narrow, growth)))
                width += growth
        layers += [Before(make.norm(width), None), Pool("all")]
        return layers, make.dense(width, num_classes)

    return _made(build, features=counts[-1], sizes=sizes, key=key, **options)


def cnn(
    widths: Sequence[int] = (8, 16, 32),
    *,
    channels: int = 1,
    num_classes: int = 10,
    initialisation: str = "lecun_normal",
    momentum: float = 0.99,
    dtype=jnp.float32,
    key: PRNGKeyArray,
) -> ConvNet:
    """A plain small network: 3 × 3 convolutions with stride 2 and batch norm, mean of all pixels.

    Args:
        widths: channels of the convolutions.
        channels, num_classes, initialisation, momentum, dtype, key: as for `resnet`.

    Returns:
        The network, with n = `widths[-1]` features.

    Raises:
        ValueError: as for `resnet`.
    """
    if not widths:
        raise ValueError("at least one convolution is needed")
    sizes = (*widths, channels, num_classes)
    options = {"initialisation": initialisation, "momentum": momentum, "dtype": dtype}

    def build(make):
        layers, width = [], channels
        for wider in widths:
            layers.append(make.unit(width, wider, stride=2))
            width = wider
        return [*layers, Pool("all")], make.dense(width, num_classes)

    return _made(build, features=widths[-1], sizes=sizes, key=key, **options)
