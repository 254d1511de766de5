r"""Networks as pytrees, each split into the features that collapse and the read-out.

Every network has three methods on one example, `features(x)` (the last hidden layer,
after its activation), `readout(h)` and `__call__(x) = readout(features(x))`. The
functions `features` and `logits` of this module apply them to all rows of a batch; with
`partition`, `functions` and `batch_logits` they are all that the rest of the library
uses of a network.

Batch norm is part of a network and uses its running statistics, so that the three
methods are plain functions of one example; only `batch_logits`, for training, looks at
the batch. The running statistics are arrays of the network but no parameters:
`partition` tells them apart.
"""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ncutils.models.convnets import cnn, densenet40, resnet, resnet20, vgg11, vgg16
from ncutils.models.layers import BATCH, BatchNorm, Dense, Statistics

__all__ = [
    "MLP",
    "Dense",
    "batch_logits",
    "cnn",
    "densenet40",
    "features",
    "functions",
    "logits",
    "mlp",
    "partition",
    "resnet",
    "resnet20",
    "unbiased_mlp",
    "vgg11",
    "vgg16",
]

ACTIVATIONS = {"erf": jax.lax.erf, "relu": jax.nn.relu}


class MLP(eqx.Module):
    r"""A fully connected network, $h^{(l)} = \phi(W^{(l)} h^{(l-1)} + b^{(l)})$, linear read-out.

    Made by `mlp`, with biases, or `unbiased_mlp`, without.
    """

    layers: tuple[Dense, ...]
    activation: str = eqx.field(static=True)

    @property
    def weights(self) -> tuple:
        """The weight matrices, p × d each, of the hidden layers, and last that of the read-out."""
        return tuple(layer.weight for layer in self.layers)

    def tail(self, number: int) -> "MLP":
        """The network without its first so many layers, a function of what they make."""
        return MLP(self.layers[number:], self.activation)

    def features(self, x: Float[Array, " d"]) -> Float[Array, " p"]:
        """The last hidden layer, after its activation."""
        for layer in self.layers[:-1]:
            x = ACTIVATIONS[self.activation](layer(x))
        return x

    def readout(self, h: Float[Array, " p"]) -> Float[Array, " c"]:
        """The outputs for given features."""
        return self.layers[-1](h)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        """The outputs for one example."""
        return self.readout(self.features(x))


def mlp(
    widths: Sequence[int],
    *,
    activation: str,
    gains: Sequence[float] | None = None,
    dtype=jnp.float32,
    key: PRNGKeyArray,
) -> MLP:
    r"""A fully connected network with Gaussian weights and trainable biases that start at zero.

    $$W^{(l)}_{ij} \sim \mathcal N\big(0,\ g_l^2 / d_{l-1}\big), \qquad b^{(l)} = 0.$$

    Args:
        widths: d₀, …, d_L: input, hidden layers, output; at least one hidden layer.
        activation: "erf" or "relu".
        gains: g_l, one for each weight matrix; 1 if left out.
        dtype: of all parameters; float32 unless told otherwise, whatever JAX's default.
        key: random key.

    Returns:
        The network.

    Raises:
        ValueError: on fewer than three widths, a width below 1, another number of
            gains, a gain ≤ 0, or an unknown activation.

    Source: P1 Section 5 has L = 2, one output and gains (1, 1.97).

    Example:
        >>> import jax
        >>> from ncutils import models
        >>> network = models.mlp((2, 4, 1), activation="erf", key=jax.random.key(0))
        >>> [layer.weight.shape for layer in network.layers]
        [(4, 2), (1, 4)]
    """
    _check_widths(widths)
    gains = (1.0,) * (len(widths) - 1) if gains is None else tuple(gains)
    if len(gains) != len(widths) - 1 or not all(gain > 0 for gain in gains):
        raise ValueError(f"{len(widths) - 1} positive gains are needed, not {gains}")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}"
        )
    keys = jax.random.split(key, len(gains))
    layers = tuple(
        Dense(
            weight=(gain / math.sqrt(fan_in)) * jax.random.normal(k, (fan_out, fan_in), dtype),
            bias=jnp.zeros(fan_out, dtype),
        )
        for (fan_in, fan_out), gain, k in zip(itertools.pairwise(widths), gains, keys, strict=True)
    )
    return MLP(layers, activation)


def unbiased_mlp(widths: Sequence[int], *, gain, key: PRNGKeyArray) -> MLP:
    r"""ReLU layers and a linear read-out without biases, float32, as P3 starts them.

    Hidden layers: uniform with variance $2 g^2 / (d_{in} + d_{out})$. Read-out: uniform in
    $\pm 1/\sqrt{d_{in}}$.

    Args:
        widths: input, hidden layers, output; at least one hidden layer.
        gain: g, a number or a traced one.
        key: random key.

    Returns:
        The network.

    Raises:
        ValueError: on fewer than three widths, or a width below 1.

    Source: P3, Appendix D, and its released code.

    Example:
        >>> import jax
        >>> from ncutils import models
        >>> network = models.unbiased_mlp((64, 32, 32, 10), gain=0.2, key=jax.random.key(0))
        >>> [W.shape for W in network.weights]
        [(32, 64), (32, 32), (10, 32)]
    """
    _check_widths(widths)
    shapes = list(itertools.pairwise(widths))
    bounds = [gain * math.sqrt(6 / (a + b)) for a, b in shapes[:-1]] + [1 / math.sqrt(widths[-2])]
    # one long draw, cut up: a draw for each layer takes seconds to compile
    draw = jax.random.uniform(key, (sum(a * b for a, b in shapes),), jnp.float32, -1.0, 1.0)
    cuts = np.cumsum([a * b for a, b in shapes])[:-1]
    parts = zip(jnp.split(draw, cuts), bounds, shapes, strict=True)
    return MLP(tuple(Dense(bound * part.reshape(b, a)) for part, bound, (a, b) in parts), "relu")


def _check_widths(widths) -> None:
    if len(widths) < 3 or min(widths) < 1:
        raise ValueError(
            f"widths name input, hidden layers and output, each ≥ 1, not {tuple(widths)}"
        )


def features(model, X: Float[Array, "n *shape"]) -> Float[Array, "n p"]:
    """The last hidden layer of a network, after its activation, for each row of a batch.

    Example:
        >>> import jax
        >>> from ncutils import models
        >>> net = models.mlp([4, 8, 2], activation="relu", key=jax.random.key(0))
        >>> models.features(net, jax.numpy.ones((3, 4))).shape
        (3, 8)
    """
    return jax.vmap(model.features)(X)


def logits(model, X: Float[Array, "n *shape"]) -> Float[Array, "n c"]:
    """The outputs of a network, before any softmax, for each row of a batch."""
    return jax.vmap(model)(X)


def partition(model):
    """Parameters, running statistics, and the rest; `equinox.combine` undoes it.

    Args:
        model: a network, or a stack of them.

    Returns:
        Three trees of the network's form: the inexact arrays that are trained, those of
        the running statistics of batch norms, and what is neither. None elsewhere.
    """
    held, rest = eqx.partition(model, _is_statistic(model))
    weights, static = eqx.partition(rest, eqx.is_inexact_array)
    return weights, held, static


def _is_statistic(model):
    def mark(node):
        return jax.tree.map(lambda _: isinstance(node, Statistics), node)

    return jax.tree.map(mark, model, is_leaf=lambda node: isinstance(node, Statistics))


def functions(model):
    """Outputs and features as functions of the parameters, and the parameters.

    Returns:
        `f(params, x)`, `h(params, x)`, `params`: for one example x, with the running
        statistics of batch norm held fixed. This is what `entk` asks for. Both functions
        are pytrees: handed to a compiled one, they need no new compilation.

    Example:
        >>> import jax
        >>> from ncutils import entk, models
        >>> net = models.mlp([4, 8, 2], activation="relu", key=jax.random.key(0))
        >>> f, h, params = models.functions(net)
        >>> f(params, jax.numpy.ones(4)).shape, h(params, jax.numpy.ones(4)).shape
        ((2,), (8,))
    """
    params, *fixed = partition(model)
    f, h = (jax.tree_util.Partial(apply, tuple(fixed)) for apply in (_outputs, _features))
    return f, h, params


def _outputs(fixed, params, x):
    return eqx.combine(params, *fixed)(x)


def _features(fixed, params, x):
    return eqx.combine(params, *fixed).features(x)


def batch_logits(model, X: Float[Array, "n *shape"]):
    """The outputs as in training: every batch norm uses the statistics of this batch.

    Args:
        model: a network.
        X: a batch of examples.

    Returns:
        n × C outputs, and the network with its running statistics moved towards those
        of the batch. A network without batch norm comes back as it is.
    """
    norms = _norms(model)
    if not norms:
        return logits(model, X), model

    def one(x):
        seen = []
        return model(x, seen), seen

    outputs, seen = jax.vmap(one, axis_name=BATCH, out_axes=(0, None))(X)
    moved = [norm.moved(batch) for norm, batch in zip(norms, seen, strict=True)]
    return outputs, eqx.tree_at(_norms, model, moved)


def _norms(model) -> list[BatchNorm]:
    """The batch norms in the order of the tree, which is the order of the pass."""
    leaves = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, BatchNorm))
    return [leaf for leaf in leaves if isinstance(leaf, BatchNorm)]
