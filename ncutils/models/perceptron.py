"""ReLU networks without biases, as P3 has them."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


class Perceptron(eqx.Module):
    """ReLU layers without biases and a linear read-out without bias.

    `Perceptron(weights[l:])` is the part of the network from layer l + 1 on.
    """

    weights: tuple[Float[Array, "_ _"], ...]

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " c"]:
        """The outputs for one example."""
        for W in self.weights[:-1]:
            x = jax.nn.relu(W @ x)
        return self.weights[-1] @ x


def perceptron(widths: tuple[int, ...], *, gain, key: PRNGKeyArray) -> Perceptron:
    r"""An untrained network, float32, as the paper starts it.

    Hidden layers: uniform with variance $2 g^2 / (d_{in} + d_{out})$. Read-out: uniform in
    $\pm 1/\sqrt{d_{in}}$.

    Args:
        widths: input, hidden layers, output.
        gain: g.
        key: random key.

    Source: P3, Appendix D, and its released code.
    """
    layers = list(itertools.pairwise(widths))
    ends = [gain * math.sqrt(6 / (a + b)) for a, b in layers[:-1]] + [1 / math.sqrt(widths[-2])]
    # one long draw, cut up: a draw for each layer takes seconds to compile
    draw = jax.random.uniform(key, (sum(a * b for a, b in layers),), jnp.float32, -1.0, 1.0)
    cuts = np.cumsum([a * b for a, b in layers])[:-1]
    parts = zip(jnp.split(draw, cuts), ends, layers, strict=True)
    return Perceptron(tuple(end * part.reshape(b, a) for part, end, (a, b) in parts))
