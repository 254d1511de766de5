r"""Perceptrons without biases, and what P3 records of each of their layers.

For input features $\Phi$ and weights $W = U S V^\top$: NC1 of $\Phi$, of $S V^\top \Phi$ and of
$\mathrm{ReLU}(W \Phi)$; and how $W^\top W$ correlates with the square root of the AGOP of the
network from that layer on.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ncutils import agop, linalg, metrics
from ncutils.models import Perceptron

# Φ, S Vᵀ Φ, ReLU(W Φ); then S times a random rotation of Φ; then the AGOP^(1/4) Φ that the
# ansatz would put in place of S Vᵀ Φ.
STAGES = ("input", "right", "output", "random", "ansatz")


def rotation(size: int, seed: int) -> Float[np.ndarray, "d d"]:
    """A random rotation or reflection, the same chance for all."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return q * np.sign(np.diagonal(r))


def look_at_layer(
    W: Float[Array, "p d"],
    inputs: Float[Array, "n d"],
    A: Float[Array, "d d"],
    y: Int[Array, " n"],
    *,
    num_classes: int,
    turn: Float[Array, "d d"],
) -> dict[str, Array]:
    r"""NC1 at each of `STAGES` of one layer, and the neural feature ansatz with its chance level.

    NC1 of $S V^\top \Phi$ is that of $W \Phi$, because U is a rotation.

    Args:
        W: weights. inputs: the features Φ, one row a sample. A: AGOP of the rest of the
            network with respect to them. y: labels.
        num_classes: C.
        turn: a random rotation, in place of V and of the basis of A.

    Returns:
        "nc1" (stages), "nfa", and "chance": the same with A in another basis.
    """
    root = linalg.psd_sqrt(A)
    singular = jnp.linalg.svd(W, compute_uv=False)
    at = {
        "input": inputs,
        "right": inputs @ W.T,
        "output": jax.nn.relu(inputs @ W.T),
        "random": (inputs @ turn)[:, : len(singular)] * singular[None, :],
        "ansatz": inputs @ linalg.psd_sqrt(root),
    }
    return {
        "nc1": jnp.stack([metrics.nc1(at[s], y, num_classes=num_classes) for s in STAGES]),
        "nfa": agop.ansatz_correlation(W, A),
        "chance": agop.pearson(W.T @ W, turn @ root @ turn.T),
    }


def forward(network: Perceptron, X) -> tuple[list, Float[Array, "n c"]]:
    """The inputs of each layer, the read-out included, and the outputs; in float64."""
    features = [X.astype(float)]
    for W in network.weights[:-1]:
        features.append(jax.nn.relu(features[-1] @ W.astype(float).T))
    return features, features[-1] @ network.weights[-1].astype(float).T


def gradient_products(network: Perceptron, after: list[Float[Array, "n _"]]) -> list[Array]:
    r"""AGOPs of the network with respect to the inputs of each hidden layer.

    With $B_l(x)$ the Jacobian of the outputs behind the weights of layer l,
    $A_l = W_l^\top \big(\frac1N \sum_i B_l(x_i)^\top B_l(x_i)\big) W_l$, and
    $B_{l-1}$ is $B_l W_l$ where the layer before fires.

    Args:
        network: its weights.
        after: what leaves each hidden layer, one row a sample.

    Returns:
        One matrix for each hidden layer, as `agop.agop` of the rest of the network has it.
    """
    found, B = [], network.weights[-1][None]
    for W, H in reversed(list(zip(network.weights[:-1], after, strict=True))):
        B = B * (H > 0).astype(H.dtype)[:, None, :]
        rows = B.reshape(-1, B.shape[-1])
        found.append(W.T @ (rows.T @ rows / len(H)) @ W)
        B = B @ W
    return found[::-1]


def shares(H: Float[Array, "n p"], y: Int[Array, " n"], *, num_classes: int) -> Float[Array, " 2"]:
    """Shares of the variance of features that lie within and between (balanced) classes."""
    ratio = metrics.nc1(H, y, num_classes=num_classes)
    return jnp.stack([ratio, jnp.ones_like(ratio)]) / (1 + ratio)


def measure(network: Perceptron, X, y, dealt, turns, *, num_classes: int) -> dict[str, Array]:
    """What is recorded: each layer, the last features, the loss; in float64 but for the AGOP.

    Args:
        network: float32. X: inputs. y: labels. dealt: the same labels in random order.
        turns: a random rotation of the inputs, and one of the hidden layers.
        num_classes: C.
    """
    features, outputs = forward(network, X)
    *hidden, inputs = features
    agops = gradient_products(network, [H.astype(X.dtype) for H in features[1:]])
    seen = [
        (W.astype(float), H, A.astype(float))
        for W, H, A in zip(network.weights[:-1], hidden, agops, strict=True)
    ]
    # layers of one shape are looked at by one piece of compiled code
    found = []
    for size, group in itertools.groupby(seen, key=lambda layer: layer[0].shape):
        turn = turns[0] if size[1] == len(turns[0]) else turns[1]
        look = functools.partial(look_at_layer, y=y, num_classes=num_classes, turn=turn)
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *group)
        found.append(jax.lax.map(lambda layer, look=look: look(*layer), stacked))
    targets = 2 * linalg.one_hot(y, num_classes=num_classes) - 1
    return {
        **jax.tree.map(lambda *parts: jnp.concatenate(parts), *found),
        "shares": shares(inputs, y, num_classes=num_classes),
        "shares_dealt": shares(inputs, dealt, num_classes=num_classes),
        "loss": jnp.mean((outputs - targets) ** 2),
        "accuracy": jnp.mean((jnp.argmax(outputs, axis=1) == y).astype(float)),
    }
